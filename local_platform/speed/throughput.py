"""How fast this machine trains, evaluates and generates with each base model: measured once, refined by finished jobs.

A file of the platform's home, bound to a fingerprint of the machine: a home that is copied to another one starts anew.
"""

import threading
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from local_platform.jobs.progress import Progress
from local_platform.speed.machine import describe_machine
from local_platform.training.files import write_json
from pilotlight.clock import now, to_rfc3339
from pilotlight.wire import Wire

WEIGHT = 0.3
"""Of the newest job in the exponential average."""
ENOUGH_SECONDS = 2.0
"""Of training before a job's speed tells more than noise."""


class Throughput(Wire):
    """One base model on this machine, one job with its threads beside others up to the configured number."""

    train_tokens_per_second: float
    eval_tokens_per_second: float
    generate_tokens_per_second: float
    """New tokens over all rows of a full batch."""
    startup_seconds: float
    """Everything of a job that is neither training nor evaluation steps: process, imports, data, publication."""
    measured_at: str = Field(default_factory=lambda: to_rfc3339(now()))
    jobs: int = 0
    """Finished jobs that refined the first measurement."""
    preference_tokens_per_second: float | None = None
    """As train_tokens_per_second, of preference jobs, which read the prompt twice; None before one was finished. The
    reference model of DPO reads at eval_tokens_per_second."""


class _File(BaseModel):
    fingerprint: str
    models: dict[str, Throughput]


class ThroughputBook:
    """The file as an object. Safe from any thread of one process."""

    def __init__(self, path: Path, slots: int, threads: int) -> None:
        self._path, self._lock = path, threading.Lock()
        self._fingerprint = f"{describe_machine()}; {slots} jobs of {threads} threads"
        self._models = self._read()

    def get(self, model: str) -> Throughput | None:
        """What is known of a base model; None before it was measured."""
        with self._lock:
            return self._models.get(model)

    def put(self, model: str, measured: Throughput) -> None:
        """Store a measurement."""
        with self._lock:
            self._models[model] = measured
            self._write()

    def refine(self, model: str, progress: Progress, running_seconds: float, *, pairs: bool = False) -> None:
        """Learn from a finished job that ran in one go; jobs too short to tell anything are left out.

        Jobs on preference `pairs` say nothing of the speed of others, whose rows have no twins to share with.
        """
        observed = observe(progress, running_seconds)
        if pairs and observed is not None:
            observed = {"preference_tokens_per_second": observed["train_tokens_per_second"]}
        with self._lock:
            known = self._models.get(model)
            if known is None or observed is None:
                return
            mixed = {name: _mix(getattr(known, name), value) for name, value in observed.items()}
            stamp: dict[str, Any] = {"jobs": known.jobs + (not pairs), "measured_at": to_rfc3339(now())}
            self._models[model] = known.model_copy(update=mixed | stamp)
            self._write()

    def _read(self) -> dict[str, Throughput]:
        try:
            stored = _File.model_validate_json(self._path.read_bytes())
        except (FileNotFoundError, ValidationError):
            return {}
        return stored.models if stored.fingerprint == self._fingerprint else {}

    def _write(self) -> None:
        stored = _File(fingerprint=self._fingerprint, models=self._models)
        write_json(self._path, stored.model_dump(by_alias=True))


def observe(progress: Progress, running_seconds: float) -> dict[str, float] | None:
    """The speeds a trainer reports, by field; None when it trained too little. Without evaluations, none of those."""
    speed = progress.speed
    train_seconds, eval_seconds = speed.get("trainSeconds", 0.0), speed.get("evalSeconds", 0.0)
    if train_seconds < ENOUGH_SECONDS:
        return None
    evaluation = {"eval_tokens_per_second": speed["evalTokens"] / eval_seconds} if eval_seconds else {}
    return evaluation | {
        "train_tokens_per_second": speed["trainTokens"] / train_seconds,
        "startup_seconds": max(0.0, running_seconds - train_seconds - eval_seconds),
    }


def _mix(known: float | None, observed: float) -> float:
    return round(observed if known is None else (1 - WEIGHT) * known + WEIGHT * observed, 3)
