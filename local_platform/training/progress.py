"""What the trainer tells the outside: progress.json, replaced as it changes, and metrics.jsonl, appended."""

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from local_platform.training.files import append_json_line, replace_file, write_json
from pilotlight.clock import now, to_rfc3339

State = Literal["RUNNING", "COMPLETED", "FAILED", "EARLY_STOPPED", "CANCELLED"]
FINISHED = ("COMPLETED", "EARLY_STOPPED")
INTERVAL = 0.3
"""Seconds between two writes of progress.json that only move the numbers."""


@dataclass
class Numbers:
    """The counters of progress.json; tokens are cumulative over all epochs."""

    step: int = 0
    total_steps: int = 0
    epoch: float = 0.0
    percent: float = 0.0
    loss: float | None = None
    eval_loss: float | None = None
    epoch_losses: dict[str, float] = field(default_factory=dict[str, float])
    """Evaluation loss by finished epochs."""
    tokens: int = 0
    trained_tokens: int = 0
    eta_seconds: float | None = None
    speed: dict[str, float] = field(default_factory=dict[str, float])
    """What this process did in how long: trainTokens, trainSeconds, trainCpuSeconds and the same of eval."""
    measures: dict[str, dict[str, float]] = field(default_factory=dict[str, dict[str, float]])
    """Beside the losses: of the last `train`ing step, the last `eval`uation and the `base` model. Preference jobs."""


class Progress:
    """progress.json. `startedAt` survives a restart of the process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._started = self.read().get("startedAt") or to_rfc3339(now())
        self._written = 0.0
        self.numbers = Numbers()

    def read(self) -> dict[str, Any]:
        """What the file says now; empty when there is none."""
        return json.loads(self._path.read_text()) if self._path.exists() else {}

    def write(self, state: State, message: str = "") -> None:
        """Replace the file now."""
        numbers = self.numbers
        self._written = time.monotonic()
        write_json(
            self._path,
            {
                "state": state,
                "message": message,
                "step": numbers.step,
                "totalSteps": numbers.total_steps,
                "epoch": round(numbers.epoch, 4),
                "percent": round(numbers.percent, 2),
                "loss": numbers.loss,
                "evalLoss": numbers.eval_loss,
                "tokens": numbers.tokens,
                "trainedTokens": numbers.trained_tokens,
                "etaSeconds": None if numbers.eta_seconds is None else round(numbers.eta_seconds, 1),
                "speed": numbers.speed,
                **({"epochLosses": numbers.epoch_losses} if numbers.epoch_losses else {}),
                **({"measures": numbers.measures} if numbers.measures else {}),
                "startedAt": self._started,
                "updatedAt": to_rfc3339(now()),
            },
        )

    def tick(self, message: str = "") -> None:
        """Replace the file if the last write is long enough ago."""
        if time.monotonic() - self._written >= INTERVAL:
            self.write("RUNNING", message)


class Metrics:
    """metrics.jsonl: training rows {step, epoch, loss, learningRate, gradientNorm, tokens} and evaluation rows
    {step, epoch, evalLoss}; preference jobs add their measures to both. Only what the checkpoint knows survives a
    restart."""

    def __init__(self, path: Path, keep_bytes: int) -> None:
        kept = path.read_bytes()[:keep_bytes] if path.exists() else b""
        with replace_file(path) as file:
            file.write(kept)
        self._file = path.open("a", encoding="utf-8")

    def add(self, row: dict[str, Any]) -> None:
        """Append one row; readers see it at once."""
        append_json_line(self._file, row)

    def position(self) -> int:
        """Bytes written so far."""
        return self._file.tell()

    def close(self) -> None:
        """Close the file."""
        self._file.close()
