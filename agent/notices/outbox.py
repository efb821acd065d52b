"""The outbox: notices that were written with a change of status and have still to be delivered."""

import json
import uuid
from collections.abc import Collection
from datetime import timedelta

from sqlalchemy import Engine, delete, or_, update
from sqlmodel import Session, col, select

from agent.notices.message import describe
from agent.states import Status
from agent.store import reading, writing
from agent.tables import ChannelRow, NoticeRow
from pilotlight.clock import now, to_rfc3339

NOTIFIED = frozenset({Status.WAITING, Status.SUCCEEDED, Status.FAILED, Status.CANCELLED})
CLAIM_SECONDS = 120.0
"""A deliverer that has not settled its notice by then is taken for dead; longer than any delivery may take."""
_KEPT_DAYS = 7


def put_notice(db: Session, session_id: str, status: Status, seq: int, reason: str) -> None:
    """Write the notices of a change of status, one for each channel there is, in the transaction that makes it."""
    channels = db.exec(select(ChannelRow.name)).all() if status in NOTIFIED else ()
    if not channels:
        return
    data, time = json.dumps(describe(db, session_id, seq, status.value, reason)), to_rfc3339(now())
    for channel in channels:
        db.add(
            NoticeRow(
                id=f"msg_{uuid.uuid4().hex}", channel=channel, session_id=session_id, status=status.value, data=data,
                time=time, next_time=time,
            )
        )  # fmt: skip
    db.flush()


def set_channels(engine: Engine, names: Collection[str]) -> None:
    """From now on there are these channels: what every process that ends turns writes notices for.

    What waited for a channel that is no more is dropped.
    """
    with writing(engine) as db:
        db.connection().execute(delete(ChannelRow).where(col(ChannelRow.name).not_in(names)))
        db.connection().execute(
            delete(NoticeRow).where(col(NoticeRow.state) == "pending", col(NoticeRow.channel).not_in(names))
        )
        for name in names:
            db.merge(ChannelRow(name=name))


def claim_notices(engine: Engine, channels: Collection[str], most: int) -> list[NoticeRow]:
    """Take due notices for delivery, the oldest first, and count the attempt; nobody else gets them meanwhile."""
    moment = now()
    time, until = to_rfc3339(moment), to_rfc3339(moment + timedelta(seconds=CLAIM_SECONDS))
    due = (
        col(NoticeRow.state) == "pending",
        col(NoticeRow.channel).in_(channels),
        col(NoticeRow.next_time) <= time,
        or_(col(NoticeRow.claimed_until).is_(None), col(NoticeRow.claimed_until) < time),
    )
    with reading(engine) as db:  # most looks find nothing, and shall not take the write lock
        found = db.exec(select(NoticeRow.id).where(*due).order_by(col(NoticeRow.time)).limit(most)).all()
    if not found:
        return []
    with writing(engine) as db:
        statement = update(NoticeRow).where(col(NoticeRow.id).in_(found), *due)
        changes = {"claimed_until": until, "attempts": NoticeRow.attempts + 1}
        taken = db.connection().execute(statement.values(changes).returning(col(NoticeRow.id))).scalars().all()
        return list(db.exec(select(NoticeRow).where(col(NoticeRow.id).in_(taken))).all())


def settle_notice(db: Session, notice: NoticeRow, state: str, error: str = "", wait: float = 0.0) -> bool:
    """Record how an attempt went; `wait` seconds until the next, when `state` is pending.

    False when the notice is not ours any more: its session was deleted, or the claim ran out and somebody else has it.
    """
    statement = (
        update(NoticeRow)
        .where(col(NoticeRow.id) == notice.id, col(NoticeRow.claimed_until) == notice.claimed_until)
        .values(state=state, error=error[:500], claimed_until=None, next_time=to_rfc3339(now() + timedelta(0, wait)))
        .returning(col(NoticeRow.id))
    )
    return db.connection().execute(statement).one_or_none() is not None


def forget_notices(db: Session, session_id: str) -> None:
    """In the transaction that deletes a session."""
    db.connection().execute(delete(NoticeRow).where(col(NoticeRow.session_id) == session_id))


def forget_settled(engine: Engine) -> None:
    """Drop what was settled a week ago."""
    oldest = to_rfc3339(now() - timedelta(days=_KEPT_DAYS))
    with writing(engine) as db:
        db.connection().execute(
            delete(NoticeRow).where(col(NoticeRow.state) != "pending", col(NoticeRow.time) < oldest)
        )
