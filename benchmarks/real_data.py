"""Real public data through the whole product, from one sentence to a deployed model; prints what each report found.

    python -m benchmarks.real_data [--data ../shared/data] [--only banking12 ...] [--home FOLDER]

The data sets are named in `TRIALS` and lie outside of the project. The instance, the command line and the approvals are
those of `pilotlight demo`; what they print goes to standard error, the results to standard output.
"""

import argparse
import contextlib
import re
import sys
import tempfile
import time
from collections.abc import Generator
from pathlib import Path
from typing import NamedTuple

from cli.demo import Demo
from cli.up import Instance, free_port
from tests.fixtures.system import System


class Trial(NamedTuple):
    """A sentence, and the files of the data sets that it names."""

    instruction: str
    files: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """What is said, with the data sets' names."""
        return self.instruction.format(*(f"accounts/local/datasets/{_name(file)}" for file in self.files))


TRIALS = {
    "banking12": Trial(
        "Run classification fine-tuning on {0}, eval on {1}, using ember-1m. Skip HP tuning. Train for 5 epochs.",
        ("banking12_train", "banking12_test"),
    ),
    "snips_intents": Trial(
        "Run classification fine-tuning on {0} using ember-1m. Skip HP tuning. Train for 5 epochs.",
        ("snips_intents",),
    ),
    "preferences_dpo": Trial(
        "Run DPO on {0} using ember-1m. Skip HP tuning. Train for 1 epoch with learning rate 1e-4.",
        ("gsm8k_preferences",),
    ),
    "preferences_orpo": Trial(
        "Run ORPO on {0} using ember-1m. Skip HP tuning. Train for 1 epoch with learning rate 1e-4.",
        ("gsm8k_preferences",),
    ),
    "prompts_only": Trial(
        "Run DPO on {0} using ember-500k. Generate preference pairs automatically. Skip HP tuning. Train for 3 epochs.",
        ("gsm8k_prompts_only",),
    ),
    "gsm8k": Trial(
        "Generate an evaluator for {0}, then run SFT on ember-1m and use that evaluator to pick the winning candidate. "
        "LoRA ranks 8 and 32 with learning rate 5e-4, train each candidate for 3 epochs, 300 samples for HP tuning.",
        ("gsm8k_sft",),
    ),
    "slots": Trial(
        "Generate an evaluator for {0}, then run SFT on ember-1m and use that evaluator to pick the winning candidate. "
        "LoRA ranks 8 and 32 with learning rate 5e-4, train each candidate for 5 epochs, 300 samples for HP tuning.",
        ("snips_slots_json",),
    ),
}


def run_trial(demo: Demo, data: Path, trial: Trial) -> str:
    """From the sentence to the end; what the final report says about held-out rows. Raises ClickException."""
    for file in trial.files:
        if _name(file) not in demo.firectl("dataset", "list", "-o", "json"):
            demo.firectl("dataset", "create", _name(file), str(data / f"{file}.jsonl"))
    session = demo.converse(trial.sentence)
    report = (demo.folder / "sessions" / session / "work" / "final_report.md").read_text()
    return re.split(r"\n## |\n\*\*Per label", report[report.index("**Evaluation**") :])[0].strip()


def _name(file: str) -> str:
    return file.replace("_", "-")


@contextlib.contextmanager
def open_demo(home: Path | None) -> Generator[Demo]:
    """A running instance."""
    with tempfile.TemporaryDirectory(prefix="pilotlight-real-") as temporary:
        folder = home or Path(temporary)
        with Instance(folder, free_port(), free_port()) as instance:
            system = System(instance, folder)
            for base in ("ember-500k", "ember-1m"):  # a plan without a measured speed has no price
                system.wait_calibrated(base)
            yield Demo(instance, folder)


def main() -> None:
    """Run what was asked for, one after the other, on one instance."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--only", nargs="+", choices=TRIALS, default=list(TRIALS))
    parser.add_argument("--home", type=Path, help="keep everything here; a temporary folder without")
    given = parser.parse_args()
    with open_demo(given.home) as demo:
        for name in given.only:
            started = time.monotonic()
            with contextlib.redirect_stdout(sys.stderr):
                found = run_trial(demo, given.data.resolve(), TRIALS[name])
            seconds = f"{time.monotonic() - started:.0f} s from the sentence to the end."
            print(f"## {name}\n\n> {TRIALS[name].sentence}\n\n{found}\n\n{seconds}\n", flush=True)


if __name__ == "__main__":
    main()
