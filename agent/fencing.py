"""How the gateway recognises a turn that runs: by the session's own row, so no second record of it can differ."""

from sqlalchemy import Connection, text

from gateway.statements import fetch

_READ = text("SELECT 1 FROM sessions WHERE id = :session AND epoch = :epoch AND status = 'running'")


def is_running(db: Connection, session: str, epoch: int) -> bool:
    """Whether this epoch of the session runs; in a transaction that may write, until its end: nobody else writes."""
    return bool(fetch(db, _READ, {"session": session, "epoch": epoch}))
