"""A turn: one runner process between two pauses. Begins with a new epoch; its end decides the session's next status."""

from typing import NamedTuple

from sqlalchemy import Engine
from sqlmodel import Session, col, select

from agent import conclusions, journal, leases
from agent.history import record_snapshot
from agent.leases import Holder
from agent.states import Move, Status
from agent.store import load_session, reading, writing
from agent.tables import AnswerRow, QuestionRow, SessionRow, TurnRow
from pilotlight.clock import now, to_rfc3339
from pilotlight.crashpoints import Point, reach
from pilotlight.identity.tables import User


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
    resident: bool = True
    """Whether the files that this machine has of the session are those of its last turn, and nobody writes them now."""


class Ending(NamedTuple):
    """How a runner process ended."""

    exit_code: int | None
    complaint: str
    """Last lines of its standard error."""
    snapshot: str | None = None
    """Name of the snapshot of its workspace; None when none could be taken."""


def begin_turn(db: Session, session_id: str, holder: Holder, lease_seconds: float) -> Turn | None:
    """Start the next turn of a pending session under a new epoch and a lease; None when it is not pending."""
    row = db.get(SessionRow, session_id)
    if row is None or row.status != Status.PENDING.value:
        return None
    row = load_session(db, session_id)
    if row.status != Status.PENDING.value:
        return None  # another worker was first
    journal.move(db, session_id, Move.START, changes={"epoch": SessionRow.epoch + 1})
    row = load_session(db, session_id)
    user = db.get(User, f"accounts/{row.account}/users/{row.created_user}")
    if user is None:
        conclusions.fail(db, row, f"The user {row.created_user}, who created this session, no longer exists.", "")
        return None
    resident = _is_resident(db, row, holder.machine)
    started = to_rfc3339(now())
    db.add(TurnRow(session_id=row.id, epoch=row.epoch, turn=row.turn, started=started, machine=holder.machine))
    leases.take(db, row.id, row.epoch, holder, lease_seconds)
    return Turn(
        row.account, row.id, row.turn, row.epoch, row.slot, user.id, user.role, user.permission_preset, resident
    )


def end_turn(engine: Engine, turn: Turn, ending: Ending) -> bool:
    """Record the end of the runner process and move the session on; True when another turn has to follow at once.

    Only gives the lease back when the session was cancelled, and does nothing when it was taken over, in the meantime.
    """
    with writing(engine) as db:
        row = load_session(db, turn.session)
        leases.drop(db, turn.session, turn.epoch)
        if row.epoch != turn.epoch:
            return False
        record = db.get_one(TurnRow, (turn.session, turn.epoch))
        record.ended, record.exit_code = to_rfc3339(now()), ending.exit_code
        db.add(record)
        if row.status != Status.RUNNING.value:
            return False
        record_snapshot(db, turn.session, turn.epoch, ending.snapshot)
        record.killed = record.outcome is None and conclusions.was_killed(ending.exit_code, ending.complaint)
        conclusions.conclude(db, row, record, ending.complaint)
        again = load_session(db, turn.session).status == Status.PENDING.value
        reach(Point.CONTROL_TURN_CONCLUDED)
    reach(Point.CONTROL_TURN_ENDED)
    return again


def take_back(engine: Engine, lease: leases.Held, reason: str, *, certain: bool, beats: int | None = None) -> bool:
    """End a turn whose worker cannot: under a raised epoch its session goes back to pending.

    A turn that had already asked or finished is concluded instead of being run again. `certain` says that its process
    is gone for sure and its files are here; without it, a question that nobody has seen yet is asked anew. With
    `beats`, does nothing when the worker gave a sign of life since, and returns False.
    """
    session_id, epoch = lease
    with writing(engine) as db:
        row = load_session(db, session_id)
        if not leases.drop(db, session_id, epoch, beats) and beats is not None:
            return False
        if row.epoch != epoch:
            return True  # another turn began: nothing is this one's to write any more
        record = db.get(TurnRow, (session_id, epoch))
        if record is not None and certain and record.ended is None:
            record.ended = to_rfc3339(now())
            db.add(record)
        if row.status == Status.RUNNING.value:
            _put_back(db, row, record, reason, certain)
        reach(Point.CONTROL_RECOVER_WRITTEN)
    reach(Point.CONTROL_RECOVER_COMMITTED)
    return True


def give_back(engine: Engine, turn: Turn, reason: str) -> None:
    """End a turn that this worker stopped before its end: another one continues."""
    take_back(engine, (turn.session, turn.epoch), reason, certain=True)


def fail_turn(engine: Engine, turn: Turn, message: str, hint: str) -> None:
    """End a turn that could not be started, unless it was taken over."""
    with writing(engine) as db:
        row = load_session(db, turn.session)
        if row.status == Status.RUNNING.value and row.epoch == turn.epoch:
            conclusions.fail(db, row, message, hint)


def is_present(engine: Engine, turn: Turn) -> bool:
    """Whether this turn was not taken over."""
    with reading(engine) as db:
        return load_session(db, turn.session).epoch == turn.epoch


def report_trouble(engine: Engine, turn: Turn, message: str, hint: str) -> None:
    """Tell of a failure that does not end the session. Raises Aborted when the turn was taken over."""
    with writing(engine) as db:
        journal.append(db, turn.session, "error", {"message": message, "hint": hint}, epoch=turn.epoch)


def _put_back(db: Session, row: SessionRow, record: TurnRow | None, reason: str, certain: bool) -> None:
    row.epoch += 1  # first of all: whatever the lost worker still sends is refused from here on
    db.add(row)
    db.flush()
    if record is not None and record.outcome is not None and (certain or not _withdraw_question(db, record)):
        conclusions.conclude(db, row, record, "")
    else:
        journal.move(db, row.id, Move.RECOVER, reason=reason)


def _withdraw_question(db: Session, record: TurnRow) -> bool:
    """Forget the question that a lost turn ended with: nobody has seen it, and its files may be lost with the worker.

    The turn that repeats the work asks anew, perhaps in other words. An answered question stays.
    """
    key = (record.session_id, record.question_id or "")
    question = db.get(QuestionRow, key) if record.outcome == "asked" else None
    if question is None or db.get(AnswerRow, key) is not None:
        return False
    db.delete(question)
    return True


def _is_resident(db: Session, row: SessionRow, machine: str) -> bool:
    query = select(TurnRow).where(TurnRow.session_id == row.id, TurnRow.epoch < row.epoch)
    last = db.exec(query.order_by(col(TurnRow.epoch).desc()).limit(1)).first()
    return last is None or (last.machine in (machine, "") and last.ended is not None)
