"""One of several gateways on a database looks after what runs: a row says which, as long as it keeps saying so."""

from sqlalchemy import Connection, text, update
from sqlmodel import col

from gateway.tables import LeaderRow
from pilotlight.database_clock import ClockSeconds

_TASK = "reaper"
_FIRST = text("INSERT INTO gateway_leader (task, holder, expires) VALUES (:task, '', 0) ON CONFLICT (task) DO NOTHING")


def lead(db: Connection, holder: str, seconds: float) -> bool:
    """Take or keep the lead for `seconds` of the database's clock; False when another one has it."""
    free = (col(LeaderRow.holder) == holder) | (col(LeaderRow.expires) < ClockSeconds())
    statement = update(LeaderRow).where(col(LeaderRow.task) == _TASK, free)
    taken = db.execute(statement.values(holder=holder, expires=ClockSeconds() + seconds))
    if taken.rowcount:
        return True
    return bool(db.execute(_FIRST, {"task": _TASK}).rowcount) and lead(db, holder, seconds)


def resign(db: Connection, holder: str) -> None:
    """Let another one lead at once."""
    mine = (col(LeaderRow.task) == _TASK, col(LeaderRow.holder) == holder)
    db.execute(update(LeaderRow).where(*mine).values(expires=0.0))
