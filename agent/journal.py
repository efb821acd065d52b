"""The only module that writes events and statuses. Each call is part of the caller's transaction.

One UPDATE of the session row takes the next sequence number (and, for a move, changes the status), then the event is
inserted: so numbers are gapless and a status never changes without its event.
"""

import json
from typing import Any, cast

from sqlalchemy import case, update
from sqlmodel import Session, col, select

from agent.notices.outbox import put_notice
from agent.states import TRANSITIONS, Move, Status
from agent.tables import EventRow, SessionRow
from agent.watch import announce
from pilotlight.clock import now, to_rfc3339
from pilotlight.errors import Aborted, FailedPrecondition, InvalidArgument, NotFound

PAYLOAD_LIMIT = 64 * 1024
"""Bytes of JSON in one event; more belongs into an artifact."""

EVENT_TYPES = frozenset(
    ["status", "phase", "status_info", "question", "answer", "rpc", "job", "cost", "artifact", "report", "error"],
)


def append(
    db: Session,
    session_id: str,
    kind: str,
    payload: dict[str, Any],
    *,
    key: str | None = None,
    epoch: int | None = None,
    changes: dict[str, Any] | None = None,
) -> int:
    """Append one event and return its seq; with `changes`, set these columns of the session in the same statement.

    The etag stays: an event alone changes nothing that an update could conflict with.
    With `key`, a second call returns the first one's seq. With `epoch`, raises Aborted when it is not the current one.
    """
    text = _encode(kind, payload)
    if key is not None and (seq := _find(db, session_id, key)) is not None:
        _check_epoch(db, session_id, epoch)
        return seq
    row = _advance(db, session_id, changes or {}, epoch=epoch)
    if row is None:
        raise _missing(db, session_id)
    return _insert(db, session_id, row, kind, text, key)


def move(
    db: Session,
    session_id: str,
    step: Move,
    *,
    reason: str = "",
    epoch: int | None = None,
    changes: dict[str, Any] | None = None,
) -> int:
    """Change the status along the table and append its `status` event; returns the seq.

    Raises FailedPrecondition when the present status does not allow `step`, Aborted for a stale epoch.
    """
    sources, goal = TRANSITIONS[step]
    values = {**(changes or {}), "status": goal.value, "version": SessionRow.version + 1}
    if goal is Status.PENDING:
        values["pending_time"] = to_rfc3339(now())
    row = _advance(db, session_id, values, epoch=epoch, sources=[source.value for source in sources])
    if row is None:
        _check_epoch(db, session_id, epoch)
        status = db.exec(select(SessionRow.status).where(SessionRow.id == session_id)).one()
        raise FailedPrecondition(f"Session {session_id} is {status}; cannot {step.value} it.")
    payload = {"status": goal.value, "move": step.value, "reason": reason}
    seq = _insert(db, session_id, row, "status", _encode("status", payload), None)
    put_notice(db, session_id, goal, seq, reason)
    return seq


def set_fields(db: Session, session_id: str, changes: dict[str, Any], *, epoch: int) -> None:
    """Change columns of a session without an event, under the lease of `epoch`. Raises Aborted for a stale one."""
    statement = (
        update(SessionRow)
        .where(col(SessionRow.id) == session_id, col(SessionRow.epoch) == epoch)
        .values(**changes, version=SessionRow.version + 1)
        .returning(col(SessionRow.id))
        .execution_options(synchronize_session=False)
    )
    if db.connection().execute(statement).one_or_none() is None:
        raise _missing(db, session_id)


def _advance(
    db: Session, session_id: str, values: dict[str, Any], *, epoch: int | None, sources: list[str] | None = None
) -> tuple[int, str, int, int] | None:
    moment = to_rfc3339(now())
    statement = (
        update(SessionRow)
        .where(col(SessionRow.id) == session_id)
        .values(
            last_seq=SessionRow.last_seq + 1,
            # A clock that steps back must not reorder events: clients filter by time.
            update_time=case((col(SessionRow.update_time) > moment, SessionRow.update_time), else_=moment),
            **values,
        )
        .returning(col(SessionRow.last_seq), col(SessionRow.update_time), col(SessionRow.turn), col(SessionRow.epoch))
        .execution_options(synchronize_session=False)
    )
    if epoch is not None:
        statement = statement.where(col(SessionRow.epoch) == epoch)
    if sources is not None:
        statement = statement.where(col(SessionRow.status).in_(sources))
    row = db.connection().execute(statement).one_or_none()
    if row is None:
        return None
    seq, time, turn, current = cast(tuple[int, str, int, int], tuple(row))
    return seq, time, turn, current if epoch is None else epoch  # the writer's own: a check afterwards sees a stale one


def _insert(db: Session, session_id: str, row: tuple[int, str, int, int], kind: str, text: str, key: str | None) -> int:
    seq, time, turn, epoch = row
    db.add(
        EventRow(session_id=session_id, seq=seq, type=kind, time=time, turn=turn, epoch=epoch, key=key, payload=text)
    )
    db.flush()
    announce(db, session_id)
    return seq


def _encode(kind: str, payload: dict[str, Any]) -> str:
    if kind not in EVENT_TYPES:
        raise InvalidArgument(
            f"Unknown event type {kind[:40]!r}.", hint=f"Use one of {', '.join(sorted(EVENT_TYPES))}."
        )
    text = json.dumps(payload, allow_nan=False)
    if len(text) > PAYLOAD_LIMIT:
        raise InvalidArgument(f"The payload of a {kind} event has {len(text)} bytes; at most {PAYLOAD_LIMIT} fit.")
    return text


def _find(db: Session, session_id: str, key: str) -> int | None:
    query = select(EventRow.seq).where(EventRow.session_id == session_id, EventRow.key == key)
    return db.exec(query).one_or_none()


def _check_epoch(db: Session, session_id: str, epoch: int | None) -> None:
    current = db.exec(select(SessionRow.epoch).where(SessionRow.id == session_id)).one_or_none()
    if current is None:
        raise NotFound(f"Session {session_id} was not found.")
    if epoch is not None and epoch != current:
        raise Aborted(f"This runner's lease on session {session_id} ended (epoch {epoch}, now {current}).")


def _missing(db: Session, session_id: str) -> Aborted | NotFound:
    current = db.exec(select(SessionRow.epoch).where(SessionRow.id == session_id)).one_or_none()
    if current is None:
        return NotFound(f"Session {session_id} was not found.")
    return Aborted(f"This runner's lease on session {session_id} ended (now epoch {current}).")
