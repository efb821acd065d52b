"""The queue of pending sessions: the session rows themselves, in the order in which their turns begin.

The account with the fewest running sessions comes first, then whoever waits longest.
"""

from sqlalchemy import text
from sqlmodel import Session, select

from agent.states import Status
from agent.tables import SessionRow

_ORDER = text(
    "WITH busy AS (SELECT account, COUNT(*) AS turns FROM sessions WHERE status = 'running' GROUP BY account),"
    " queue AS (SELECT s.id, s.pending_time, COALESCE(busy.turns, 0) - 1"
    "  + ROW_NUMBER() OVER (PARTITION BY s.account ORDER BY s.pending_time, s.id) AS ahead"
    "  FROM sessions s LEFT JOIN busy ON busy.account = s.account WHERE s.status = 'pending'"
    "  AND NOT EXISTS (SELECT 1 FROM leases WHERE leases.session_id = s.id))"
    " SELECT id, ahead FROM queue ORDER BY ahead, pending_time, id"
)
"""`ahead`: running sessions of the account, and its pending ones before this one. So the whole order is that of claims
made one by one. A session whose last process may still exist has no place."""


def is_empty(db: Session) -> bool:
    """Whether no session is pending."""
    return db.exec(select(SessionRow.id).where(SessionRow.status == Status.PENDING.value).limit(1)).first() is None


def find_first(db: Session, account_turns: int) -> str | None:
    """The session that is next, None when every account of the queue has `account_turns` running (0: no limit)."""
    first = db.connection().execute(_ORDER).first()
    if first is None or (account_turns and first.ahead >= account_turns):
        return None
    return first.id


def read_positions(db: Session) -> dict[str, int]:
    """Place of every pending session, from 1."""
    return {row.id: place for place, row in enumerate(db.connection().execute(_ORDER), 1)}
