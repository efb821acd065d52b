"""The life of a session: one enum, one transition table [DESIGN section 3].

    pending -> running -> waiting | succeeded | failed | cancelled
    waiting -> pending    an answer came
    succeeded -> pending  new work in the same workspace [A66]
    failed -> pending     retry from the failed phase

`cancelled` is final. Nothing writes a status but `agent.journal.move`, and only along this table.
"""

from enum import StrEnum


class Status(StrEnum):
    """Where a session is. Wire values."""

    PENDING = "pending"
    """Accepted; a turn will start."""
    RUNNING = "running"
    """A runner process is at work."""
    WAITING = "waiting"
    """It asked; no process exists."""
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


RESTING = frozenset({Status.WAITING, Status.SUCCEEDED, Status.FAILED, Status.CANCELLED})
"""Nothing happens until somebody acts: an event stream ends here."""


class Move(StrEnum):
    """Every legal change of status."""

    START = "start"
    """A turn begins."""
    RECOVER = "recover"
    """The turn's process died with the control process; another one takes its place."""
    CONTINUE = "continue"
    """The turn ended and there is more to do at once: its question is answered by record, or an instruction came."""
    ASK = "ask"
    SUCCEED = "succeed"
    FAIL = "fail"
    CANCEL = "cancel"
    ANSWER = "answer"
    REOPEN = "reopen"
    RETRY = "retry"


TRANSITIONS: dict[Move, tuple[frozenset[Status], Status]] = {
    Move.START: (frozenset({Status.PENDING}), Status.RUNNING),
    Move.RECOVER: (frozenset({Status.RUNNING}), Status.PENDING),
    Move.CONTINUE: (frozenset({Status.RUNNING}), Status.PENDING),
    Move.ASK: (frozenset({Status.RUNNING}), Status.WAITING),
    Move.SUCCEED: (frozenset({Status.RUNNING}), Status.SUCCEEDED),
    Move.FAIL: (frozenset({Status.PENDING, Status.RUNNING}), Status.FAILED),
    Move.CANCEL: (frozenset({Status.PENDING, Status.RUNNING, Status.WAITING}), Status.CANCELLED),
    Move.ANSWER: (frozenset({Status.WAITING}), Status.PENDING),
    Move.REOPEN: (frozenset({Status.SUCCEEDED}), Status.PENDING),
    Move.RETRY: (frozenset({Status.FAILED}), Status.PENDING),
}


def allows(move: Move, status: Status) -> bool:
    """Whether `move` may leave `status`."""
    return status in TRANSITIONS[move][0]


def target(move: Move) -> Status:
    """Where `move` leads."""
    return TRANSITIONS[move][1]
