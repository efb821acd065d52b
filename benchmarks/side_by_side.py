"""Two trainers on the same rows: runs in turn, each in a process of its own, at equal loss or not at all."""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # a worker that trains with another library does not import ours
    from local_platform.training.spec import JobSpec

RANK = 16
SEED = 42
LOG_EVERY = 10
"""TRL reports the mean loss of so many steps."""
TOLERANCE = 1e-3

Result = dict[str, Any]
"""`seconds` of processor time, `tokens`, and `losses`, each the mean of LOG_EVERY steps."""
Row = dict[str, Any]
Runs = dict[str, Callable[[Path], Result]]
"""By name; ours is `pilotlight`."""
ChooseData = Callable[[Path | None, int], dict[str, list[Row]]]
"""(file or None, rows) to rows by name of the data set."""


def read_setting(work: Path) -> tuple[Path, float, float]:
    """(base model folder, epochs, alpha ratio)."""
    setting = json.loads((work / "setting.json").read_text())
    return Path(setting["base"]), setting["epochs"], setting["ratio"]


def describe_job(work: Path, **settings: Any) -> "JobSpec":
    """A job of ours on the rows, in a folder of its own, fp32 on the CPU."""
    from local_platform.training.spec import JobSpec

    base, epochs, ratio = read_setting(work)
    run = Path(tempfile.mkdtemp(dir=work))
    return JobSpec(
        job="benchmark",
        base_model_directory=base,
        lora_alpha_ratio=ratio,
        dataset_path=work / "rows.jsonl",
        output_directory=run / "adapter",
        work_directory=run,
        epochs=epochs,
        lora_rank=RANK,
        max_context_length=1024,
        seed=SEED,
        device="cpu",
        dtype="float32",
        **settings,
    )


def means(losses: list[float]) -> list[float]:
    """Of each LOG_EVERY steps."""
    whole = len(losses) // LOG_EVERY * LOG_EVERY
    return [statistics.fmean(losses[i : i + LOG_EVERY]) for i in range(0, whole, LOG_EVERY)]


def compare(module: str, description: str | None, runs: Runs, choose_data: ChooseData, default_rows: int) -> int:
    """Run, print, and fail when the losses differ; returns the exit status. Workers start `module` again."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=default_rows)
    parser.add_argument("--epochs", type=float, default=1)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--model", default="ember-1m")
    parser.add_argument("--data", type=Path, help="rows to use instead of generated ones")
    parser.add_argument("--worker", choices=list(runs), help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(runs[options.worker](options.work)))
        return 0
    failed = False
    for name, rows in choose_data(options.data, options.rows).items():
        with tempfile.TemporaryDirectory() as folder:
            work = Path(folder) / "work"
            _prepare(work, rows, options.epochs, options.model)
            results: dict[str, list[Result]] = {run: [] for run in runs}
            for _ in range(options.rounds):
                for run in runs:
                    results[run].append(_measure(module, run, work))
            failed |= not _report(name, results)
    return int(failed)


def _prepare(work: Path, rows: list[Row], epochs: float, model: str) -> None:
    """Write the rows and the setting that all workers read."""
    from local_platform.basemodels.shipped import shipped

    work.mkdir()
    (work / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    base = next(candidate for candidate in shipped() if candidate.id == model)
    setting = {"base": str(base.directory), "epochs": epochs, "ratio": base.lora_alpha_ratio}
    (work / "setting.json").write_text(json.dumps(setting))


def _measure(module: str, name: str, work: Path) -> Result:
    """One run in a process of its own."""
    single = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive", "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", module, "--worker", name, "--work", str(work)]
    done = subprocess.run(command, env=os.environ | single, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def _report(data: str, results: dict[str, list[Result]]) -> bool:
    """Print speeds, ratios and the largest difference between the losses; False when that is too large."""
    speeds = {name: [run["tokens"] / run["seconds"] for run in runs] for name, runs in results.items()}
    ours, rounds = results["pilotlight"][0], len(results["pilotlight"])
    print(f"{data}: {ours['tokens']} tokens per run; tokens per CPU second, median of {rounds} (lowest to highest)")
    worst = 0.0
    for name, values in speeds.items():
        losses = results[name][0]["losses"]
        difference = max(abs(a - b) for a, b in zip(ours["losses"], losses, strict=True))
        worst = max(worst, difference)
        ratio = statistics.median(a / b for a, b in zip(speeds["pilotlight"], values, strict=True))
        print(
            f"  {name:11}{statistics.median(values):7.0f} ({min(values):.0f} to {max(values):.0f})"
            f"  loss {losses[0]:.4f} to {losses[-1]:.4f}, at most {difference:.0e} from ours"
            f"  pilotlight is {ratio:.2f} times as fast",
            flush=True,
        )
    if worst > TOLERANCE:
        print(f"  The losses differ by more than {TOLERANCE}: the comparison is void.")
    return worst <= TOLERANCE
