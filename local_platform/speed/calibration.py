"""First measurement of a base model on this machine: the real trainer on a small made-up dataset, then generation.

Runs beside the platform in its own threads and processes, one per training slot, so that a measured job has the
neighbours a real one has. A model that is too slow to measure in the time allowed stays unmeasured: nothing is guessed.
"""

import json
import logging
import random
import shutil
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from local_platform.context import Platform
from local_platform.jobs.launcher import Launcher, ProcessRef, child_environment
from local_platform.jobs.progress import Progress, read_progress
from local_platform.resources import select_rows
from local_platform.speed.machine import accelerator
from local_platform.speed.throughput import Throughput, ThroughputBook
from local_platform.tables import ModelRow
from local_platform.training.spec import JobSpec

ROWS, EPOCHS = 64, 40
"""Enough to measure; few enough that a trial nobody watches any more ends soon."""
TRAIN_SECONDS = 1.5
"""Of processor time in training steps."""
LIMIT_SECONDS = 180.0
SCHEDULING_SECONDS = 0.5
"""Noticing that a trainer ended, and publishing its adapter."""
_WORDS = (
    "the",
    "quick",
    "answer",
    "to",
    "this",
    "small",
    "question",
    "is",
    "that",
    "a",
    "calm",
    "river",
    "runs",
    "past",
)
_log = logging.getLogger(__name__)


class _Training(NamedTuple):
    """What a trial of the trainer tells; see Throughput."""

    train_tokens_per_second: float
    eval_tokens_per_second: float
    startup_seconds: float


class Calibrator:
    """Measures base models that the book does not know. Safe from any thread."""

    def __init__(self, platform: Platform, launcher: Launcher, book: ThroughputBook, slots: int, threads: int) -> None:
        self._platform, self._launcher, self._book, self._threads = platform, launcher, book, threads
        self._pool = ThreadPoolExecutor(slots, thread_name_prefix="calibration")
        self._lock, self._stopping = threading.Lock(), threading.Event()
        self._asked: dict[str, threading.Event] = {}

    def start(self) -> None:
        """Begin to measure every tunable base model that is not in the book."""
        with self._platform.reading() as db:
            models = select_rows(db, ModelRow, None, "READY")
        for model in models:
            if model.body.get("kind") == "HF_BASE_MODEL" and model.body.get("tunable"):
                self.request(model)

    def wait(self, model: ModelRow, seconds: float) -> Throughput | None:
        """What is known of a base model, after up to `seconds` of measuring; None if it is not known by then."""
        if known := self._book.get(model.name):
            return known
        self.request(model).wait(seconds)
        return self._book.get(model.name)

    def stop(self) -> None:
        """Give up what is being measured."""
        self._stopping.set()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def request(self, model: ModelRow) -> threading.Event:
        """Measure a base model unless it is known; the event is set when there is nothing left to wait for."""
        with self._lock:
            done = self._asked.get(model.name)
            if done is None:
                done = self._asked[model.name] = threading.Event()
                if self._book.get(model.name) or self._stopping.is_set():
                    done.set()
                else:
                    self._pool.submit(self._measure, model, done)
            return done

    def _measure(self, model: ModelRow, done: threading.Event) -> None:
        folder = self._platform.home / "calibration" / model.id
        try:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            training = self._measure_training(model, folder)
            generation = self._measure_generation(model) if training else None
            if training and generation:
                self._book.put(model.name, Throughput(**training._asdict(), generate_tokens_per_second=generation))
        except (OSError, ValueError, KeyError, subprocess.SubprocessError):
            _log.exception("%s could not be measured.", model.name)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            done.set()

    def _measure_training(self, model: ModelRow, folder: Path) -> _Training | None:
        process = self._launcher.start(write_trial(model, folder, self._threads), self._threads)
        started = time.monotonic()
        progress = self._watch(process, folder, started)
        elapsed, busy = time.monotonic() - started, processor_seconds(process)
        self._launcher.kill(process)
        if progress is None:
            _log.warning("%s: no speed after %.0f seconds; it stays unknown.", model.name, elapsed)
            return None
        # One thread on a processor: its own time is the wall time it would have had alone on the machine.
        alone = self._threads == 1 and accelerator() == "CPU" and busy is not None
        return _read_speed(progress.speed, "CpuSeconds" if alone else "Seconds", busy if alone and busy else elapsed)

    def _watch(self, process: ProcessRef, folder: Path, started: float) -> Progress | None:
        """The trainer's report once it has trained long enough, or at its end if that comes first."""
        while time.monotonic() - started < LIMIT_SECONDS and not self._stopping.is_set():
            alive, progress = self._launcher.alive(process), read_progress(folder)
            trained = progress.speed.get("trainCpuSeconds", 0.0) if progress else 0.0
            if progress and progress.speed.get("evalSeconds") and trained >= (TRAIN_SECONDS if alive else 0.001):
                return progress
            if not alive:
                return None
            time.sleep(0.02)
        return None

    def _measure_generation(self, model: ModelRow) -> float | None:
        command = [sys.executable, "-P", "-m", "local_platform.speed.generation", model.body["_directory"]]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, env=child_environment(self._threads), stdout=pipe, stderr=pipe) as child:
            deadline = time.monotonic() + LIMIT_SECONDS
            while child.poll() is None:
                if self._stopping.wait(0.05) or time.monotonic() > deadline:
                    child.kill()
            output, errors = child.communicate()
        if child.returncode:
            _log.warning("%s: generation was not measured: %s", model.name, errors.decode(errors="replace")[-1000:])
            return None
        return json.loads(output.splitlines()[-1])["generateTokensPerSecond"]


def processor_seconds(process: ProcessRef) -> float | None:
    """User and system time of a running process; None when it has ended."""
    try:
        times = psutil.Process(process.pid).cpu_times()
    except psutil.NoSuchProcess:
        return None
    return times.user + times.system


def _read_speed(speed: dict[str, float], clock: str, total: float) -> _Training:
    train, evaluation = speed[f"train{clock}"], speed[f"eval{clock}"]
    return _Training(
        round(speed["trainTokens"] / train, 2),
        round(speed["evalTokens"] / evaluation, 2),
        round(total - train - evaluation + SCHEDULING_SECONDS, 3),
    )


def write_trial(model: ModelRow, folder: Path, threads: int) -> Path:
    """A dataset of ROWS short chats and the spec of a job on it, with the model's default batch."""
    generator = random.Random(0)
    dataset, details = folder / "trial.jsonl", model.body["localDetails"]
    dataset.write_text("".join(json.dumps(_row(generator)) + "\n" for _ in range(ROWS)))
    spec = JobSpec(
        job=f"calibration of {model.name}",
        base_model_directory=Path(model.body["_directory"]),
        lora_alpha_ratio=float(details["loraAlphaRatio"]),
        dataset_path=dataset,
        evaluation_path=dataset,
        output_directory=folder / "adapter",
        work_directory=folder,
        epochs=EPOCHS,
        batch_size=int(details["defaultBatchTokens"]),
        max_context_length=min(2048, int(model.body["contextLength"])),
        lora_rank=16,
        threads=threads,
    )
    path = folder / "spec.json"
    path.write_text(spec.model_dump_json())
    return path


def _row(generator: random.Random) -> dict[str, Any]:
    question, answer = (" ".join(generator.choices(_WORDS, k=generator.randint(*span))) for span in ((8, 40), (5, 25)))
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}
