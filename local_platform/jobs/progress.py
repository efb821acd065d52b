"""What a trainer says about itself in `progress.json`, as the scheduler reads it."""

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

LOG_TAIL = 2_000


class Progress(BaseModel):
    """The last report of a trainer; fields that it does not know yet are None."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="allow")

    state: Literal["RUNNING", "COMPLETED", "FAILED", "EARLY_STOPPED", "CANCELLED"]
    message: str = ""
    step: int = 0
    total_steps: int | None = None
    epoch: float = 0.0
    percent: float = 0.0
    loss: float | None = None
    eval_loss: float | None = None
    tokens: int = 0
    eta_seconds: float | None = None
    speed: dict[str, float] = Field(default_factory=dict[str, float])
    """trainTokens, trainSeconds, trainCpuSeconds of the process, and the same of eval."""

    def to_wire(self) -> dict[str, Any]:
        """The whole report as it was written, for `localProgress`."""
        return self.model_dump(by_alias=True)


def read_progress(work_directory: Path) -> Progress | None:
    """The trainer's last report; None before its first. Raises ValueError on a file that is not a report."""
    try:
        text = (work_directory / "progress.json").read_text()
    except FileNotFoundError:
        return None
    try:
        return Progress.model_validate(json.loads(text))
    except (json.JSONDecodeError, ValidationError) as error:
        raise ValueError(f"{work_directory / 'progress.json'} is not a progress report: {error}") from error


def base_eval_loss(work_directory: Path) -> float | None:
    """The evaluation loss before the first training step, from the first lines of metrics.jsonl; None without one."""
    path = work_directory / "metrics.jsonl"
    if not path.exists():
        return None
    with path.open(encoding="utf-8") as stream:
        for line in stream:
            try:
                row = json.loads(line)
            except json.JSONDecodeError:  # the trainer is writing it right now
                return None
            if row.get("step", 0) > 0:
                return None
            if row.get("evalLoss") is not None:
                return float(row["evalLoss"])
    return None


def log_tail(work_directory: Path) -> str:
    """The end of what the process printed, to say why it died."""
    for name in ("console.log", "trainer.log"):
        path = work_directory / name
        if path.exists() and path.stat().st_size:
            return path.read_bytes()[-LOG_TAIL:].decode(errors="replace").strip()
    return ""
