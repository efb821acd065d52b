"""States of a fine-tuning job [P64] and the one table of transitions between them.

CREATING -> PENDING -> VALIDATING -> RUNNING -> WRITING_RESULTS -> COMPLETED | EARLY_STOPPED. Any active state may fail;
a running job is cancelled through CANCELLING, a waiting one at once. FAILED and CANCELLED go back to PENDING by
`:resume`; VALIDATING and RUNNING go back to it when a trainer was lost and starts again from its checkpoint.
"""

from enum import StrEnum

from pilotlight.errors import FailedPrecondition


class JobState(StrEnum):
    """The documented wire values this platform uses."""

    CREATING = "JOB_STATE_CREATING"
    PENDING = "JOB_STATE_PENDING"
    VALIDATING = "JOB_STATE_VALIDATING"
    RUNNING = "JOB_STATE_RUNNING"
    WRITING_RESULTS = "JOB_STATE_WRITING_RESULTS"
    CANCELLING = "JOB_STATE_CANCELLING"
    COMPLETED = "JOB_STATE_COMPLETED"
    EARLY_STOPPED = "JOB_STATE_EARLY_STOPPED"
    FAILED = "JOB_STATE_FAILED"
    CANCELLED = "JOB_STATE_CANCELLED"


_S = JobState
TRANSITIONS: dict[JobState, frozenset[JobState]] = {
    _S.CREATING: frozenset({_S.PENDING, _S.FAILED, _S.CANCELLED}),
    _S.PENDING: frozenset({_S.VALIDATING, _S.FAILED, _S.CANCELLED}),
    _S.VALIDATING: frozenset({_S.RUNNING, _S.PENDING, _S.FAILED, _S.CANCELLING}),
    _S.RUNNING: frozenset({_S.WRITING_RESULTS, _S.PENDING, _S.FAILED, _S.CANCELLING}),
    _S.WRITING_RESULTS: frozenset({_S.COMPLETED, _S.EARLY_STOPPED, _S.FAILED}),
    _S.CANCELLING: frozenset({_S.CANCELLED, _S.FAILED}),
    _S.FAILED: frozenset({_S.PENDING}),
    _S.CANCELLED: frozenset({_S.PENDING}),
    _S.COMPLETED: frozenset(),
    _S.EARLY_STOPPED: frozenset(),
}
TERMINAL = frozenset({_S.COMPLETED, _S.EARLY_STOPPED, _S.FAILED, _S.CANCELLED})
HAS_TRAINER = frozenset({_S.VALIDATING, _S.RUNNING, _S.CANCELLING})
"""States in which a trainer process belongs to the job."""


def check_transition(name: str, current: str, target: JobState) -> JobState:
    """Return `target` if the table allows it; raises FailedPrecondition naming both states."""
    if target not in TRANSITIONS[JobState(current)]:
        raise FailedPrecondition(f"Job {name!r} is in state {current} and cannot go to {target.value}.")
    return target
