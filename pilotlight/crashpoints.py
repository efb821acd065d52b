"""Named moments at which the crash campaign kills a process: before and after each commit, acknowledgement and effect.

Nothing is armed unless PILOTLIGHT_CRASH_TESTS=1 and PILOTLIGHT_CRASH_AT are both set: the process that reaches one of
these points, `name` or `name:nth` with commas between them, for the nth time then ends itself with SIGKILL, as a power
failure would end it. Which one it was is first appended to the file PILOTLIGHT_CRASH_LOG, where that is set.
"""

import os
import signal
from collections import Counter
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path


class Point(StrEnum):
    """Every point: the process that reaches it, what it is about, and what has just happened."""

    CONTROL_CREATE_WRITTEN = "control.create.written"
    CONTROL_CREATE_COMMITTED = "control.create.committed"
    CONTROL_UPDATE_WRITTEN = "control.update.written"
    CONTROL_UPDATE_COMMITTED = "control.update.committed"
    CONTROL_EVENTS_WRITTEN = "control.events.written"
    CONTROL_EVENTS_COMMITTED = "control.events.committed"
    CONTROL_PLAN_WRITTEN = "control.plan.written"
    CONTROL_PLAN_COMMITTED = "control.plan.committed"
    CONTROL_QUESTION_WRITTEN = "control.question.written"
    CONTROL_QUESTION_COMMITTED = "control.question.committed"
    CONTROL_ANSWER_READ = "control.answer.read"
    CONTROL_FINISH_WRITTEN = "control.finish.written"
    CONTROL_FINISH_COMMITTED = "control.finish.committed"
    CONTROL_TURN_BEGUN = "control.turn.begun"
    CONTROL_TURN_COMMITTED = "control.turn.committed"
    CONTROL_RUNNER_STARTED = "control.runner.started"
    CONTROL_TURN_CONCLUDED = "control.turn.concluded"
    CONTROL_TURN_ENDED = "control.turn.ended"
    CONTROL_RECOVER_WRITTEN = "control.recover.written"
    CONTROL_RECOVER_COMMITTED = "control.recover.committed"
    CONTROL_SNAPSHOT_WRITTEN = "control.snapshot.written"
    CONTROL_SNAPSHOT_KEPT = "control.snapshot.kept"
    CONTROL_ADMIT_WRITTEN = "control.admit.written"
    CONTROL_ADMIT_COMMITTED = "control.admit.committed"
    CONTROL_CALL_ANSWERED = "control.call.answered"
    CONTROL_OUTCOME_WRITTEN = "control.outcome.written"
    CONTROL_OUTCOME_COMMITTED = "control.outcome.committed"
    CONTROL_SETTLE_WRITTEN = "control.settle.written"
    CONTROL_SETTLE_COMMITTED = "control.settle.committed"
    RUNNER_CONTEXT_READ = "runner.context.read"
    RUNNER_NODE_BEGUN = "runner.node.begun"
    """The checkpoint of the node before it is written."""
    RUNNER_NODE_DONE = "runner.node.done"
    """Its own checkpoint is not."""
    RUNNER_CALL_PLANNED = "runner.call.planned"
    RUNNER_CALL_ANSWERED = "runner.call.answered"
    RUNNER_UPLOAD_ANSWERED = "runner.upload.answered"
    RUNNER_DOWNLOAD_WRITTEN = "runner.download.written"
    RUNNER_EVENTS_PLANNED = "runner.events.planned"
    RUNNER_EVENTS_SENT = "runner.events.sent"
    RUNNER_PLAN_SENT = "runner.plan.sent"
    RUNNER_QUESTION_PLANNED = "runner.question.planned"
    RUNNER_QUESTION_SENT = "runner.question.sent"
    RUNNER_ANSWER_READ = "runner.answer.read"
    RUNNER_FILE_WRITTEN = "runner.file.written"
    RUNNER_FINISH_PLANNED = "runner.finish.planned"
    RUNNER_FINISH_SENT = "runner.finish.sent"
    PLATFORM_DATASET_WRITTEN = "platform.dataset.written"
    PLATFORM_DATASET_COMMITTED = "platform.dataset.committed"
    PLATFORM_UPLOAD_RECEIVED = "platform.upload.received"
    PLATFORM_UPLOAD_ADOPTED = "platform.upload.adopted"
    PLATFORM_UPLOAD_COMMITTED = "platform.upload.committed"
    PLATFORM_JOB_WRITTEN = "platform.job.written"
    PLATFORM_JOB_COMMITTED = "platform.job.committed"
    PLATFORM_TRAINER_STARTED = "platform.trainer.started"
    PLATFORM_TRAINER_NOTED = "platform.trainer.noted"
    PLATFORM_ADAPTER_MOVED = "platform.adapter.moved"
    PLATFORM_MODEL_COMMITTED = "platform.model.committed"
    PLATFORM_JOB_ADVANCED = "platform.job.advanced"
    PLATFORM_DEPLOYMENT_WRITTEN = "platform.deployment.written"
    PLATFORM_DEPLOYMENT_COMMITTED = "platform.deployment.committed"
    PLATFORM_LOAD_WRITTEN = "platform.load.written"
    PLATFORM_LOAD_COMMITTED = "platform.load.committed"
    PLATFORM_REPLICA_ADVANCED = "platform.replica.advanced"


_armed: dict[str, set[int]] = {}
"""Point -> the hits at which it kills."""
_hits: Counter[str] = Counter()
_log: list[Path] = []


def arm(environment: Mapping[str, str]) -> None:
    """Take over what the variables ask for, and nothing else; done at import with the process's own.

    Raises ValueError for a point that does not exist.
    """
    for kept in (_armed, _hits, _log):
        kept.clear()
    if environment.get("PILOTLIGHT_CRASH_TESTS") != "1":
        return
    for wanted in filter(None, environment.get("PILOTLIGHT_CRASH_AT", "").split(",")):
        name, _, nth = wanted.partition(":")
        _armed.setdefault(Point(name), set()).add(int(nth or 1))
    if "PILOTLIGHT_CRASH_LOG" in environment:
        _log.append(Path(environment["PILOTLIGHT_CRASH_LOG"]))


def reach(point: Point) -> None:
    """Say that the point is reached: a dictionary lookup, unless it is armed."""
    if (deadly := _armed.get(point)) is None:
        return
    _hits[point] += 1
    if _hits[point] in deadly:
        _die(f"{point}:{_hits[point]}")


def _die(what: str) -> None:
    for path in _log:
        with path.open("a") as file:
            file.write(f"{os.getpid()} {what}\n")
    os.kill(os.getpid(), signal.SIGKILL)


arm(os.environ)
