"""A turn: one runner process between two pauses. Begins with a new epoch; its end decides the session's next status."""

from typing import NamedTuple

from sqlalchemy import Engine, func
from sqlmodel import Session, col, select

from agent import estimates, journal, spending
from agent.history import record_snapshot
from agent.questions import publish_question
from agent.states import Move, Status
from agent.store import load_session, writing
from agent.tables import AnswerRow, InstructionRow, SessionRow, TurnRow
from pilotlight.clock import now, to_rfc3339
from pilotlight.identity.tables import User

_MOST_REPEATS = 5
"""How often a runner may end on a question that is answered already before it counts as stuck."""


class Turn(NamedTuple):
    """A running turn's identity: what its socket stands for."""

    account: str
    session: str
    turn: int
    epoch: int
    slot: int
    user: str
    """ID of the session's creator: its role bounds what the runner may do."""
    role: str
    preset: str | None


class Ending(NamedTuple):
    """How a runner process ended."""

    exit_code: int | None
    complaint: str
    """Last lines of its standard error."""
    snapshot: str | None = None
    """Name of the snapshot of its workspace; None when none could be taken."""


def begin_turn(engine: Engine, session_id: str) -> Turn | None:
    """Start the next turn of a pending session under a new epoch; None when it is not pending (any more)."""
    with writing(engine) as db:
        row = db.get(SessionRow, session_id)
        if row is None or row.status != Status.PENDING.value:
            return None
        journal.move(db, session_id, Move.START, changes={"epoch": SessionRow.epoch + 1})
        row = load_session(db, session_id)
        started = to_rfc3339(now())
        db.add(TurnRow(session_id=row.id, epoch=row.epoch, turn=row.turn, started=started))
        user = db.get(User, f"accounts/{row.account}/users/{row.created_user}")
        if user is None:
            _fail(db, row, f"The user {row.created_user}, who created this session, no longer exists.", "")
            return None
        return Turn(row.account, row.id, row.turn, row.epoch, row.slot, user.id, user.role, user.permission_preset)


def end_turn(engine: Engine, turn: Turn, ending: Ending) -> bool:
    """Record the end of the runner process and move the session on; True when another turn has to follow at once.

    Does nothing to a session that was cancelled, or taken over by a newer epoch, in the meantime.
    """
    with writing(engine) as db:
        row, record = load_session(db, turn.session), db.get(TurnRow, (turn.session, turn.epoch))
        if record is not None:
            record.ended, record.exit_code = to_rfc3339(now()), ending.exit_code
            db.add(record)
        if record is None or row.epoch != turn.epoch or row.status != Status.RUNNING.value:
            return False
        record_snapshot(db, turn.session, turn.epoch, ending.snapshot)
        _conclude(db, row, record, ending)
        return load_session(db, turn.session).status == Status.PENDING.value


def recover(engine: Engine) -> list[str]:
    """After a start: IDs of the sessions to dispatch. Sessions whose runner is gone go back to pending.

    A turn that had already asked or finished is concluded instead of being run again.
    """
    with writing(engine) as db:
        rows = db.exec(select(SessionRow).where(SessionRow.status == Status.RUNNING.value)).all()
        for row in rows:
            record = db.get(TurnRow, (row.id, row.epoch))
            if record is not None and record.outcome is not None:
                record_snapshot(db, row.id, row.epoch, None)
                _conclude(db, row, record, Ending(None, ""))
            else:
                journal.move(db, row.id, Move.RECOVER, reason="the control process was restarted")
        pending = select(SessionRow.id).where(SessionRow.status == Status.PENDING.value)
        return list(db.exec(pending.order_by(col(SessionRow.create_time))).all())


def fail_turn(engine: Engine, session_id: str, message: str, hint: str) -> None:
    """End a turn that could not be started."""
    with writing(engine) as db:
        row = load_session(db, session_id)
        if row.status in (Status.PENDING.value, Status.RUNNING.value):
            _fail(db, row, message, hint)


def report_trouble(engine: Engine, session_id: str, message: str, hint: str) -> None:
    """Tell of a failure that does not end the session."""
    with writing(engine) as db:
        journal.append(db, session_id, "error", {"message": message, "hint": hint})


def _conclude(db: Session, row: SessionRow, record: TurnRow, ending: Ending) -> None:
    if record.outcome is None:
        _fail(db, row, _why(ending), f"Retry: `firectl session update {row.id} --instruction 'Try again.'`")
    elif record.outcome == "asked":
        _pause(db, row, record)
    elif record.outcome == "succeeded":
        estimates.record_run(db, row, "succeeded")
        spending.revoke_grants(db, row.id)
        journal.move(db, row.id, Move.SUCCEED)  # the report event has the words
        if _unread_instructions(db, row):
            journal.move(db, row.id, Move.REOPEN, reason="an instruction came", changes={"turn": SessionRow.turn + 1})
    elif record.outcome == "failed":
        _fail(db, row, record.message, "")
    else:
        estimates.record_run(db, row, "cancelled")
        spending.revoke_grants(db, row.id)
        journal.move(db, row.id, Move.CANCEL, reason=record.message)


def _pause(db: Session, row: SessionRow, record: TurnRow) -> None:
    question_id = record.question_id or ""
    if db.get(AnswerRow, (row.id, question_id)) is None:
        publish_question(db, row, question_id)
        journal.move(db, row.id, Move.ASK, changes={"question_id": question_id})
        return
    same = (TurnRow.session_id == row.id, TurnRow.question_id == question_id)
    if db.exec(select(func.count()).select_from(TurnRow).where(*same)).one() > _MOST_REPEATS:
        _fail(db, row, f"The runner asked question {question_id} again and again, though it is answered.", "")
        return
    journal.move(db, row.id, Move.CONTINUE, reason="the question is answered", changes={"turn": SessionRow.turn + 1})


def _fail(db: Session, row: SessionRow, message: str, hint: str) -> None:
    estimates.record_run(db, row, "failed")
    journal.append(db, row.id, "error", {"message": message, "hint": hint})
    journal.move(db, row.id, Move.FAIL, reason=message)


def _unread_instructions(db: Session, row: SessionRow) -> bool:
    newest = db.exec(select(func.max(InstructionRow.number)).where(InstructionRow.session_id == row.id)).one()
    return (newest or 0) > row.seen_instruction


def _why(ending: Ending) -> str:
    tail = ending.complaint.strip()
    reason = f"The runner ended with exit code {ending.exit_code} before it asked or finished."
    return f"{reason}\n{tail}" if tail else reason
