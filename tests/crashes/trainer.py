"""A trainer's stand-in: the files of the real one, a checkpoint after each step, no learning.

`trainer.jsonl` beside the specification is its own log: one line when it starts and one for each step that it does.
"""

import fcntl
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from local_platform.training.files import write_json
from local_platform.training.progress import Metrics, Progress
from local_platform.training.spec import JobSpec, load_spec

STEPS, STEP_SECONDS = 5, 0.25
"""Longer than a platform needs to start again."""
_WIDTH = 96
"""Of ember-500k: the output width of its first query projection too."""
_LAYER = "base_model.model.model.layers.0.self_attn.q_proj"


def main(arguments: list[str]) -> int:
    """Train as `python -m local_platform.training` would: go on from the checkpoint, or begin."""
    signal.signal(signal.SIGTERM, _leave)
    spec = load_spec(Path(arguments[0]))
    folder = spec.work_directory
    with (folder / "trainer.lock").open("w") as lock, (folder / "trainer.jsonl").open("a") as log:
        alone = _try_lock(lock.fileno())
        _note(log.fileno(), "start", alone=alone)
        _train(spec, folder, log.fileno())
    return 0


def _leave(_number: int, _frame: object) -> None:
    sys.exit(143)


def _train(spec: JobSpec, folder: Path, log: int) -> None:
    progress, kept = Progress(folder / "progress.json"), _read(folder / "checkpoint.json")
    progress.write("RUNNING", "Starting.")
    metrics = Metrics(folder / "metrics.jsonl", int(kept.get("position", 0)))
    numbers, first = progress.numbers, int(kept.get("step", 0))
    numbers.total_steps, numbers.step = STEPS, first
    if not first:
        metrics.add({"step": 0, "epoch": 0.0, "evalLoss": 3.0})
    for step in range(first + 1, STEPS + 1):
        time.sleep(STEP_SECONDS)
        numbers.step, numbers.percent, numbers.tokens = step, 100 * step / STEPS, 100 * step
        numbers.loss = numbers.eval_loss = 3.0 - 0.2 * step - 0.001 * spec.lora_rank
        metrics.add({"step": step, "epoch": step / STEPS, "loss": numbers.loss, "evalLoss": numbers.eval_loss})
        write_json(folder / "checkpoint.json", {"step": step, "position": metrics.position()})
        _note(log, "step", step=step)
        progress.write("RUNNING")
    _save_adapter(spec)
    progress.write("COMPLETED")


def _save_adapter(spec: JobSpec) -> None:
    spec.output_directory.mkdir(exist_ok=True)
    rank = spec.lora_rank
    weights = {"A": np.zeros((rank, _WIDTH), np.float32), "B": np.zeros((_WIDTH, rank), np.float32)}
    named = {f"{_LAYER}.lora_{part}.weight": value for part, value in weights.items()}
    save_file(named, spec.output_directory / "adapter_model.safetensors")
    config = {"r": rank, "lora_alpha": rank, "target_modules": ["q_proj"], "peft_type": "LORA"}
    write_json(spec.output_directory / "adapter_config.json", config)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _note(log: int, what: str, **more: Any) -> None:
    os.write(log, json.dumps({"time": time.time(), "pid": os.getpid(), "what": what, **more}).encode() + b"\n")


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text()) if path.exists() else {}
