"""Lists of sessions are read in the order of an index."""

from sqlalchemy import Connection, text


def upgrade(db: Connection) -> None:
    """Add the index."""
    db.execute(text("CREATE INDEX IF NOT EXISTS sessions_by_time ON sessions (account, create_time, id)"))
