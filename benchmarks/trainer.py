"""Training tokens per CPU second: our trainer against TRL's SFTTrainer at equal loss.

    pip install -e .[bench]
    python -m benchmarks.trainer

The same base model, LoRA, rows, order of rows, rows per step, optimizer and schedule; float32; one thread; a process
per run, the trainers in turn. Only the training loop is timed: not imports, not tokenising. The losses must agree, or
the comparison is void and the script fails. TRL runs twice: as it comes (float32, gradient checkpointing on, its
default) and tuned for a model this small (checkpointing off). Two data sets: tickets whose rows share a system prompt,
which our trainer computes once per step, and the same tickets without it.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROWS_PER_STEP = 8
LEARNING_RATE = 1e-4
RANK = 16
SEED = 42
LOG_EVERY = 10
"""TRL reports the mean loss of so many steps."""
TOLERANCE = 1e-3

Result = dict[str, Any]


def run_ours(work: Path) -> Result:
    """The timed loop of local_platform.training."""
    from local_platform.training.data import load_data, load_tokenizer
    from local_platform.training.files import append_json_line
    from local_platform.training.forward import build_network
    from local_platform.training.loop import Loop, Outputs
    from local_platform.training.model import add_adapter, choose_device, load_base, prepare_process, vocabulary_size
    from local_platform.training.objective import CrossEntropy
    from local_platform.training.packing import Budget, Plan
    from local_platform.training.progress import Metrics, Progress
    from local_platform.training.signals import StopSignal
    from local_platform.training.spec import JobSpec

    base, epochs, ratio = _setting(work)
    run = Path(tempfile.mkdtemp(dir=work))
    spec = JobSpec(
        job="benchmark",
        base_model_directory=base,
        lora_alpha_ratio=ratio,
        dataset_path=work / "rows.jsonl",
        output_directory=run / "adapter",
        work_directory=run,
        epochs=epochs,
        learning_rate=LEARNING_RATE,
        batch_size_samples=ROWS_PER_STEP,
        lora_rank=RANK,
        max_context_length=1024,
        seed=SEED,
        device="cpu",
        dtype="float32",
    )
    device, progress = choose_device(spec), Progress(run / "progress.json")
    prepare_process(spec, device)
    model = load_base(spec, device)
    rows, _ = load_data(spec, load_tokenizer(spec), vocabulary_size(model), progress)
    plan = Plan(rows.lengths, Budget(0, ROWS_PER_STEP), 1, epochs, SEED)
    with (work / "ordered.jsonl").open("w") as file:
        texts = (work / "rows.jsonl").read_text().splitlines()
        for epoch in range(len(plan.epoch_ends())):
            for row in (row for step in plan.epoch_steps(epoch) for chosen in step for row in chosen):
                append_json_line(file, json.loads(texts[row]))
    network = build_network(add_adapter(model, spec), device)
    loop = Loop(spec, network, CrossEntropy(rows, device.device), plan, None)
    outputs = Outputs(progress, Metrics(run / "metrics.jsonl", 0), lambda _: None)
    stop, started = StopSignal(), time.process_time()
    loop.run(outputs, stop)
    seconds = time.process_time() - started
    outputs.metrics.close()
    losses = [json.loads(line)["loss"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    return {"seconds": seconds, "tokens": plan.total_tokens(), "losses": _means(losses)}


def run_trl(work: Path, *, checkpointing: bool) -> Result:
    """The timed SFTTrainer.train() on the rows in our order."""
    import torch
    from datasets import Dataset  # pyright: ignore[reportMissingImports] the bench extra
    from datasets.table import InMemoryTable  # pyright: ignore[reportMissingImports] the bench extra
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer  # pyright: ignore[reportMissingImports] the bench extra

    torch.set_num_threads(1)
    base, _, ratio = _setting(work)
    tokenizer = AutoTokenizer.from_pretrained(base)
    rows: list[dict[str, list[int]]] = []
    for line in (work / "ordered.jsonl").read_text().splitlines():
        encoded: Any = tokenizer.apply_chat_template(
            json.loads(line)["messages"], return_dict=True, return_assistant_tokens_mask=True
        )
        pairs = zip(encoded["input_ids"], encoded["assistant_masks"], strict=True)
        rows.append({"input_ids": encoded["input_ids"], "labels": [token if kept else -100 for token, kept in pairs]})
    torch.manual_seed(SEED)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    config = LoraConfig(r=RANK, lora_alpha=int(ratio * RANK), target_modules="all-linear", task_type="CAUSAL_LM")
    arguments = SFTConfig(
        output_dir=str(work / "trl"),
        per_device_train_batch_size=ROWS_PER_STEP,
        num_train_epochs=1,
        train_sampling_strategy="sequential",
        learning_rate=LEARNING_RATE,
        lr_scheduler_type="linear",
        max_length=None,
        bf16=False,
        gradient_checkpointing=checkpointing,
        logging_steps=LOG_EVERY,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
        seed=SEED,
    )
    trainer = SFTTrainer(
        model=get_peft_model(model, config),
        args=arguments,
        train_dataset=Dataset(InMemoryTable.from_pylist(rows), fingerprint="rows"),  # hashing fails on some pyarrow
        processing_class=tokenizer,
    )
    tokens = sum(len(row["input_ids"]) for row in rows)
    started = time.process_time()
    trainer.train()
    seconds = time.process_time() - started
    return {
        "seconds": seconds,
        "tokens": tokens,
        "losses": [e["loss"] for e in trainer.state.log_history if "loss" in e],
    }


RUNS: dict[str, Callable[[Path], Result]] = {
    "pilotlight": run_ours,
    "trl": lambda work: run_trl(work, checkpointing=True),
    "trl, tuned": lambda work: run_trl(work, checkpointing=False),
}


def _setting(work: Path) -> tuple[Path, float, float]:
    """(base model folder, epochs, alpha ratio)."""
    setting = json.loads((work / "setting.json").read_text())
    return Path(setting["base"]), setting["epochs"], setting["ratio"]


def _means(losses: list[float]) -> list[float]:
    whole = len(losses) // LOG_EVERY * LOG_EVERY
    return [statistics.fmean(losses[i : i + LOG_EVERY]) for i in range(0, whole, LOG_EVERY)]


def prepare(work: Path, rows: list[dict[str, Any]], epochs: float, model: str) -> None:
    """Write the rows and the setting that all workers read."""
    from local_platform.basemodels.shipped import shipped

    work.mkdir()
    (work / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    base = next(candidate for candidate in shipped() if candidate.id == model)
    setting = {"base": str(base.directory), "epochs": epochs, "ratio": base.lora_alpha_ratio}
    (work / "setting.json").write_text(json.dumps(setting))


def choose_data(data: Path | None, count: int) -> dict[str, list[dict[str, Any]]]:
    """Rows by name of the data set."""
    from local_platform.basemodels.demo_data import generate_rows

    if data is not None:
        return {data.name: [json.loads(line) for line in data.read_text().splitlines()[:count]]}
    tickets = list(generate_rows(count, SEED))
    without = [{"messages": row["messages"][1:]} for row in tickets]
    return {"tickets with a system prompt": tickets, "tickets without one": without}


def measure(name: str, work: Path) -> Result:
    """One run in a process of its own."""
    single = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive", "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "benchmarks.trainer", "--worker", name, "--work", str(work)]
    done = subprocess.run(command, env=os.environ | single, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> int:
    """Run, print, and fail when the losses differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=320)
    parser.add_argument("--epochs", type=float, default=1)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--model", default="ember-1m")
    parser.add_argument("--data", type=Path, help="chat rows to use instead of generated tickets")
    parser.add_argument("--worker", choices=list(RUNS), help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(RUNS[options.worker](options.work)))
        return 0
    failed = False
    for name, rows in choose_data(options.data, options.rows).items():
        with tempfile.TemporaryDirectory() as folder:
            work = Path(folder) / "work"
            prepare(work, rows, options.epochs, options.model)
            results: dict[str, list[Result]] = {run: [] for run in RUNS}
            for _ in range(options.rounds):
                for run in RUNS:
                    results[run].append(measure(run, work))
            failed |= not report(name, results)
    return int(failed)


def report(data: str, results: dict[str, list[Result]]) -> bool:
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


if __name__ == "__main__":
    sys.exit(main())
