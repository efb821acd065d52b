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
from typing import Any

from local_platform.context import Platform
from local_platform.launcher import Launcher, ProcessRef, child_environment
from local_platform.progress import Progress, read_progress
from local_platform.resources import select_rows
from local_platform.tables import ModelRow
from local_platform.throughput import Throughput, ThroughputBook
from local_platform.training.spec import JobSpec

ROWS, EPOCHS = 64, 40
"""Enough to measure; few enough that a trial nobody watches any more ends soon."""
TRAIN_SECONDS = 3.0
LIMIT_SECONDS = 180.0
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
                self._request(model)

    def wait(self, model: ModelRow, seconds: float) -> Throughput | None:
        """What is known of a base model, after up to `seconds` of measuring; None if it is not known by then."""
        if known := self._book.get(model.name):
            return known
        self._request(model).wait(seconds)
        return self._book.get(model.name)

    def stop(self) -> None:
        """Give up what is being measured."""
        self._stopping.set()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _request(self, model: ModelRow) -> threading.Event:
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
            if measured := self._measure_training(model, folder):
                speed = self._measure_generation(model)
                self._book.put(model.name, measured.model_copy(update={"generate_tokens_per_second": speed}))
        except (OSError, ValueError, KeyError, subprocess.SubprocessError):
            _log.exception("%s could not be measured.", model.name)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            done.set()

    def _measure_training(self, model: ModelRow, folder: Path) -> Throughput | None:
        process = self._launcher.start(write_trial(model, folder, self._threads), self._threads)
        started = time.monotonic()
        progress = self._watch(process, folder, started)
        # The rest of the clock up to here is what a job spends besides its steps.
        elapsed = time.monotonic() - started
        self._launcher.kill(process)
        if progress is None:
            _log.warning("%s: no speed after %.0f seconds; it stays unknown.", model.name, elapsed)
            return None
        speed = progress.speed
        return Throughput(
            train_tokens_per_second=speed["trainTokens"] / speed["trainSeconds"],
            eval_tokens_per_second=speed["evalTokens"] / speed["evalSeconds"],
            startup_seconds=round(elapsed - speed["trainSeconds"] - speed["evalSeconds"], 3),
        )

    def _watch(self, process: ProcessRef, folder: Path, started: float) -> Progress | None:
        """The trainer's report once it has trained long enough, or at its end if that comes first."""
        while time.monotonic() - started < LIMIT_SECONDS and not self._stopping.is_set():
            alive, progress = self._launcher.alive(process), read_progress(folder)
            trained = progress.speed.get("trainSeconds", 0.0) if progress else 0.0
            if progress and progress.speed.get("evalSeconds") and trained >= (TRAIN_SECONDS if alive else 0.001):
                return progress
            if not alive:
                return None
            time.sleep(0.02)
        return None

    def _measure_generation(self, model: ModelRow) -> float | None:
        command = [sys.executable, "-P", "-m", "local_platform.generation_speed", model.body["_directory"]]
        environment = child_environment(self._threads)
        done = subprocess.run(command, env=environment, capture_output=True, timeout=LIMIT_SECONDS, check=False)
        if done.returncode:
            _log.warning(
                "%s: generation was not measured: %s", model.name, done.stderr.decode(errors="replace")[-1000:]
            )
            return None
        return json.loads(done.stdout.splitlines()[-1])["generateTokensPerSecond"]


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
