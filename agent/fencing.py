"""How the gateway recognises a turn that runs: by the session's own row, so no second record of it can differ."""

from sqlalchemy import Connection, text

from gateway.statements import fetch

_RUNS = "SELECT 1 FROM sessions WHERE id = :session AND epoch = :epoch AND status = 'running'"
_READ = text(_RUNS)
_LOCK = text(f"{_RUNS} FOR SHARE")


def is_running(db: Connection, session: str, epoch: int) -> bool:
    """Whether this epoch of the session runs, until the end of the transaction (SQLite has one writer anyway)."""
    # a snapshot holds nothing back, and PostgreSQL refuses to lock in one
    locks = db.dialect.name == "postgresql" and not db.get_execution_options().get("readonly", False)
    statement = _LOCK if locks else _READ
    return bool(fetch(db, statement, {"session": session, "epoch": epoch}))
