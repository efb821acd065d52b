"""How the gateway recognises a turn that runs: by the session's own row, so no second record of it can differ."""

from sqlalchemy import Connection, text

from gateway.statements import fetch

_RUNS = "SELECT 1 FROM sessions WHERE id = :session AND epoch = :epoch AND status = 'running'"
_READ = text(_RUNS)
_LOCK = text(f"{_RUNS} FOR SHARE")


def is_running(db: Connection, session: str, epoch: int) -> bool:
    """Whether this epoch of the session runs, until the end of the transaction (SQLite has one writer anyway)."""
    statement = _LOCK if db.dialect.name == "postgresql" else _READ
    return bool(fetch(db, statement, {"session": session, "epoch": epoch}))
