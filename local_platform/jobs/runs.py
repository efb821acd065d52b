"""What the scheduler remembers of a job beside its resource: its place in the queue, its process, its machine time."""

import time
from decimal import Decimal
from pathlib import Path
from typing import Any

from sqlmodel import Field, Session, SQLModel

from local_platform.jobs.kinds import kind_of
from local_platform.jobs.launcher import ProcessRef
from local_platform.tables import JobRow
from pilotlight.errors import Internal
from pilotlight.money import usd

_SECONDS_PER_HOUR = Decimal(3600)
_NANOS = Decimal(10**9)


class JobRun(SQLModel, table=True):
    """One row per job. Times are seconds since the epoch; `running_seconds` counts trainers that have ended."""

    __tablename__ = "platform_job_run"  # pyright: ignore[reportAssignmentType]

    job: str = Field(primary_key=True)
    queued_at: float = Field(default_factory=time.time)
    pid: int | None = None
    process_started: float | None = None
    """As the operating system reports it: tells our process from a later one with the same ID."""
    started_at: float | None = None
    """When the trainer that runs now was launched."""
    running_seconds: float = 0.0
    launches: int = 0
    restarts: int = 0
    """Trainers lost since the job was last queued by a caller."""

    @property
    def process(self) -> ProcessRef | None:
        """The trainer, if one was launched and not yet seen to end."""
        if self.pid is None or self.process_started is None:
            return None
        return ProcessRef(self.pid, self.process_started)

    def seconds(self) -> float:
        """Machine time so far, the current trainer included."""
        return self.running_seconds + (max(0.0, time.time() - self.started_at) if self.started_at else 0.0)


def begin_run(run: JobRun, process: ProcessRef) -> None:
    """Note a launched trainer."""
    run.pid, run.process_started, run.started_at = process.pid, process.started, time.time()
    run.launches += 1


def end_run(run: JobRun, at: float | None = None) -> None:
    """Note that the trainer ended, `at` some time or now, and count its seconds."""
    if run.started_at is not None:
        run.running_seconds += max(0.0, (at or time.time()) - run.started_at)
    run.pid = run.process_started = run.started_at = None


def run_of(db: Session, job: JobRow) -> JobRun:
    """The run of a job; every job has one from its creation on."""
    run = db.get(JobRun, job.name)
    if run is None:
        raise Internal(f"{job.name} has no run record.")
    return run


def work_directory(home: Path, job: JobRow) -> Path:
    """Where the trainer of a job keeps its files."""
    return home / kind_of(job.name).folder / job.account / job.id


def cost_of(seconds: float, machine_hour: Decimal | None) -> dict[str, Any] | None:
    """Machine time as google.type.Money; None when the price book has no price."""
    if machine_hour is None:
        return None
    amount = usd(Decimal(str(seconds)) * machine_hour / _SECONDS_PER_HOUR)
    units = int(amount)
    return {"currencyCode": "USD", "units": str(units), "nanos": int((amount - units) * _NANOS)}
