"""Runs queued fine-tuning jobs: at most `slots` trainer processes, first come first served, accounts taking turns.

A thread of the platform process looks at every live job a few times a second. Truth is in the database and in the
trainers' files, so a platform that was killed goes on where it was: trainers that still run are adopted, lost ones are
queued again and resume from their checkpoints.
"""

import logging
import shutil
import threading
import time
from collections import Counter
from pathlib import Path

from sqlmodel import Session

from local_platform.background import Background
from local_platform.context import Platform
from local_platform.jobs.launcher import Launcher, ProcessRef
from local_platform.jobs.progress import log_tail, read_progress
from local_platform.jobs.publication import publish_adapter
from local_platform.jobs.runs import JobRun, begin_run, end_run, run_of, work_directory
from local_platform.jobs.spec import write_spec
from local_platform.jobs.state import HAS_TRAINER, TERMINAL, JobState, check_transition
from local_platform.jobs.view import closing_fields
from local_platform.resources import delete, find, get, select_rows, update_body
from local_platform.speed.throughput import ThroughputBook
from local_platform.tables import JobRow
from pilotlight.crashpoints import Point, reach
from pilotlight.errors import PilotlightError

MAX_RESTARTS = 2
"""Lost trainers per queueing before the job fails."""
TICK = 0.2
STOP_GRACE = 30.0
"""Seconds a cancelled trainer has to save its checkpoint."""
SHUTDOWN_GRACE = 5.0
CANCELLED_TEXT = "Cancelled by request."
_EXIT_BAD_REQUEST = 2
_log = logging.getLogger(__name__)


class Scheduler:
    """Owns the trainers. Its public methods are safe from any thread."""

    def __init__(self, platform: Platform, launcher: Launcher, book: ThroughputBook, slots: int, threads: int) -> None:
        self._platform, self._launcher, self._book = platform, launcher, book
        self._slots, self._threads = slots, threads
        self._lock = threading.RLock()
        self._asked_to_stop: dict[str, float] = {}
        self._background = Background("job-scheduler", self.tick, TICK)

    def start(self) -> None:
        """Take up what an earlier process left, then run until `stop`."""
        self.recover()
        self._background.start()

    def stop(self) -> None:
        """Stop scheduling and ask all trainers to save; their jobs go on at the next start."""
        self._background.stop()
        with self._lock, self._platform.writing() as db:
            self._stop_trainers(db)
            db.commit()

    def wake(self) -> None:
        """Look at the queue now instead of at the next tick."""
        self._background.wake()

    def remove(self, name: str) -> None:
        """End the trainer of a job, if any, and delete the job with its files; its output model stays.

        Raises NotFound.
        """
        with self._lock, self._platform.writing() as db:
            job = get(db, JobRow, name)
            run = run_of(db, job)
            if run.process:
                self._launcher.kill(run.process)
            folder = work_directory(self._platform.home, job)
            db.delete(run)
            delete(db, job)
            db.commit()
        shutil.rmtree(folder, ignore_errors=True)

    def recover(self) -> None:
        """Requeue jobs whose trainer did not survive the last process; those that run on are watched from now on."""
        with self._lock, self._platform.writing() as db:
            for job in select_rows(db, JobRow, None, *HAS_TRAINER):
                run = run_of(db, job)
                if run.process and self._launcher.alive(run.process):
                    _log.info("%s: adopted trainer %d", job.name, run.process.pid)
                elif not self._reported_end(job):
                    end_run(run, self._last_sign_of_life(job))
                    self._give_back(db, job)
            db.commit()

    def tick(self) -> None:
        """One look at every job that is not at rest."""
        with self._lock:
            for name in self._live_jobs():
                self._advance(name)
            self._fill_slots()

    def _give_back(self, db: Session, job: JobRow) -> None:
        if job.state == JobState.CANCELLING:
            self._close(db, job, JobState.CANCELLED, "CANCELLED", CANCELLED_TEXT)
        else:
            self._move(db, job, JobState.PENDING)

    def _live_jobs(self) -> list[str]:
        states = [state for state in JobState if state not in TERMINAL and state is not JobState.PENDING]
        with self._platform.reading() as db:
            return [job.name for job in select_rows(db, JobRow, None, *states)]

    def _advance(self, name: str) -> None:
        with self._platform.writing() as db:
            job = find(db, JobRow, name)
            if job is None:
                return
            try:
                self._step(db, job, run_of(db, job))
            except (PilotlightError, OSError, ValueError, KeyError) as error:
                _log.exception("%s failed", name)
                self._fail(db, job, "INTERNAL", str(error))
            db.commit()
        reach(Point.PLATFORM_JOB_ADVANCED)

    def _step(self, db: Session, job: JobRow, run: JobRun) -> None:
        state = JobState(job.state)
        if state is JobState.CREATING:
            self._move(db, job, JobState.PENDING)
        elif state is JobState.WRITING_RESULTS:
            self._publish(db, job)
        elif run.process and self._launcher.alive(run.process):
            self._watch(db, job, run)
        else:
            self._conclude(db, job, run)

    def _watch(self, db: Session, job: JobRow, run: JobRun) -> None:
        assert run.process
        if job.state == JobState.CANCELLING:
            asked = self._asked_to_stop.setdefault(job.name, time.monotonic())
            if time.monotonic() - asked > STOP_GRACE:
                self._launcher.kill(run.process)
            elif asked + 2 * TICK > time.monotonic():
                self._launcher.stop(run.process)
        elif job.state == JobState.VALIDATING and read_progress(work_directory(self._platform.home, job)):
            self._move(db, job, JobState.RUNNING)

    def _conclude(self, db: Session, job: JobRow, run: JobRun) -> None:
        """The trainer is gone: read what it reported, or find that it was lost."""
        code = self._launcher.exit_code(run.process) if run.process else None
        end_run(run, self._last_sign_of_life(job) if code is None else None)
        self._asked_to_stop.pop(job.name, None)
        if job.state == JobState.CANCELLING:
            self._give_back(db, job)
            return
        progress = read_progress(work_directory(self._platform.home, job))
        if progress and progress.state in ("COMPLETED", "EARLY_STOPPED"):
            if job.state == JobState.VALIDATING:
                self._move(db, job, JobState.RUNNING)
            self._move(db, job, JobState.WRITING_RESULTS)
        elif progress and progress.state == "FAILED":
            self._fail(db, job, "INVALID_ARGUMENT" if code == _EXIT_BAD_REQUEST else "INTERNAL", progress.message)
        else:
            self._restart(db, job, run, code)

    def _restart(self, db: Session, job: JobRow, run: JobRun, code: int | None) -> None:
        run.restarts += 1
        tail = log_tail(work_directory(self._platform.home, job))
        _log.warning("%s: the trainer was lost (exit status %s, loss %d). %s", job.name, code, run.restarts, tail)
        if run.restarts > MAX_RESTARTS:
            text = f"The trainer was lost {run.restarts} times, last with exit status {code}."
            self._fail(db, job, "INTERNAL", f"{text} The end of its log: {tail}" if tail else text)
        else:
            self._move(db, job, JobState.PENDING)

    def _publish(self, db: Session, job: JobRow) -> None:
        progress = read_progress(work_directory(self._platform.home, job))
        publish_adapter(self._platform, db, job)
        # The model must be there before anybody can see that the job is done.
        db.commit()
        reach(Point.PLATFORM_MODEL_COMMITTED)
        run = run_of(db, job)
        if progress and run.launches == 1:
            pairs = "_loss" in job.body
            self._book.refine(job.body["_base"], progress, run.running_seconds, pairs=pairs)
        early = progress is not None and progress.state == "EARLY_STOPPED"
        message = progress.message if progress else ""
        self._close(db, job, JobState.EARLY_STOPPED if early else JobState.COMPLETED, "OK", message)

    def _fail(self, db: Session, job: JobRow, code: str, message: str) -> None:
        run = run_of(db, job)
        if run.process:
            self._launcher.kill(run.process)
            end_run(run)
        self._close(db, job, JobState.FAILED, code, message)

    def _close(self, db: Session, job: JobRow, state: JobState, code: str, message: str) -> None:
        check_transition(job.name, job.state, state)
        fields = closing_fields(self._platform, job, run_of(db, job))
        update_body(db, job, fields | {"status": {"code": code, "message": message}}, state)
        _log.info("%s is %s %s", job.name, state, message)

    def _move(self, db: Session, job: JobRow, state: JobState) -> None:
        update_body(db, job, {}, check_transition(job.name, job.state, state))

    def _fill_slots(self) -> None:
        while not self._background.stopping and (name := self._next_job()):
            self._launch(name)

    def _next_job(self) -> str | None:
        """The pending job of the account with the fewest trainers, oldest first; None when nothing fits."""
        with self._platform.reading() as db:
            busy = Counter(job.account for job in select_rows(db, JobRow, None, *HAS_TRAINER))
            if busy.total() >= self._slots:
                return None
            waiting = [
                (busy[job.account], run_of(db, job).queued_at, job.name)
                for job in select_rows(db, JobRow, None, JobState.PENDING)
            ]
        return min(waiting)[2] if waiting else None

    def _launch(self, name: str) -> None:
        with self._platform.writing() as db:
            job = find(db, JobRow, name)
            if job is None or job.state != JobState.PENDING:
                return
            try:
                spec = write_spec(self._platform, db, job, self._threads)
                begin_run(run_of(db, job), self._launcher.find(spec) or self._start(spec))
                reach(Point.PLATFORM_TRAINER_STARTED)
                self._move(db, job, JobState.VALIDATING)
            except (PilotlightError, OSError, ValueError, KeyError) as error:
                _log.exception("%s cannot be started", name)
                self._fail(db, job, "INTERNAL", str(error))
            db.commit()
        reach(Point.PLATFORM_TRAINER_NOTED)

    def _start(self, spec: Path) -> ProcessRef:
        # A report of an earlier trainer must not be taken for this one's.
        (spec.parent / "progress.json").unlink(missing_ok=True)
        return self._launcher.start(spec, self._threads)

    def _stop_trainers(self, db: Session) -> None:
        jobs = [(job, run_of(db, job)) for job in select_rows(db, JobRow, None, *HAS_TRAINER)]
        for _, run in jobs:
            if run.process:
                self._launcher.stop(run.process)
        deadline = time.monotonic() + SHUTDOWN_GRACE
        for job, run in jobs:
            while run.process and self._launcher.alive(run.process) and time.monotonic() < deadline:
                time.sleep(0.05)
            if run.process:
                self._launcher.kill(run.process)
            end_run(run)
            db.add(job)

    def _reported_end(self, job: JobRow) -> bool:
        progress = read_progress(work_directory(self._platform.home, job))
        return progress is not None and progress.state in ("COMPLETED", "EARLY_STOPPED", "FAILED")

    def _last_sign_of_life(self, job: JobRow) -> float | None:
        path = work_directory(self._platform.home, job) / "progress.json"
        return path.stat().st_mtime if path.exists() else None
