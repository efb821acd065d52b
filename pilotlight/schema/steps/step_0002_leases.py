"""Dispatch by leases: since when a session waits, where a turn ran, and whether a process still waits for an answer."""

from sqlalchemy import Connection, text

_STATEMENTS = (
    "ALTER TABLE sessions ADD COLUMN pending_time VARCHAR NOT NULL DEFAULT ''",
    "UPDATE sessions SET pending_time = update_time WHERE status = 'pending'",
    "CREATE INDEX IF NOT EXISTS sessions_by_time ON sessions (account, create_time, id)",
    "ALTER TABLE turns ADD COLUMN machine VARCHAR NOT NULL DEFAULT ''",
    "ALTER TABLE turns ADD COLUMN killed BOOLEAN NOT NULL DEFAULT false",
    "ALTER TABLE gateway_reservations ADD COLUMN touch_time VARCHAR",
)


def upgrade(db: Connection) -> None:
    """From version 1."""
    for statement in _STATEMENTS:
        db.execute(text(statement))
