"""PostgreSQL as the control database: one writer at a time, snapshots for readers, every wait bounded."""

import logging
from importlib.util import find_spec
from typing import Any

from sqlalchemy import URL, Connection, Engine, event
from sqlmodel import create_engine

from pilotlight.errors import FailedPrecondition

log = logging.getLogger(__name__)
NAMES = ("postgresql", "postgres")
_OLDEST = 14

_WRITERS = 0x70696C6F74
"""The advisory lock of whoever writes. Such locks belong to one database, so this number is ours alone."""

_SESSION = {
    "lock_timeout": "60s",
    "statement_timeout": "120s",
    # A process that was stopped in the middle of a transaction must not keep the write lock from all others.
    "idle_in_transaction_session_timeout": "30s",
    "default_transaction_isolation": "read committed",
    "synchronous_commit": "on",
    "TimeZone": "UTC",
}
_CONNECT = {
    "connect_timeout": "10",
    "application_name": "pilotlight",
    "client_encoding": "utf8",
    # A server that vanished without a word is noticed within a minute.
    "keepalives_idle": "20",
    "keepalives_interval": "5",
    "keepalives_count": "4",
    "tcp_user_timeout": "60000",
}
_SETTINGS = f"SELECT {', '.join('set_config(%s, %s, false)' for _ in _SESSION)}"
_READ = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"
_WRITE = f"SELECT pg_advisory_xact_lock({_WRITERS})"
_WRITE_RELAXED = f"{_WRITE}, set_config('synchronous_commit', 'off', true)"

_TRANSIENT_CLASSES = ("08", "40", "53", "57")
"""Connection, rollback by the server, out of resources, operator's intervention (SQLSTATE classes)."""
_TRANSIENT = ("55P03", "25P03")
"""No lock in time; a transaction that was idle for too long."""


def open_engine(url: URL) -> Engine:
    """An engine through psycopg 3, whatever driver `url` names; nothing is connected yet.

    The execution option `readonly` is a snapshot; `relaxed` commits without waiting for the disk.
    Raises FailedPrecondition without psycopg.
    """
    if find_spec("psycopg") is None:
        raise FailedPrecondition(
            "PILOTLIGHT_DATABASE_URL names a PostgreSQL database, and its driver is not installed.",
            hint="Install it: `pip install 'pilotlight[postgres]'`.",
        )
    url = url.set(drivername="postgresql+psycopg", query={**_CONNECT, **url.query})
    engine = create_engine(url, pool_pre_ping=True, pool_size=5, max_overflow=15, pool_timeout=60)
    event.listen(engine, "connect", _on_connect)
    event.listen(engine, "begin", _on_begin)
    return engine


def check_server(db: Connection) -> None:
    """Raises FailedPrecondition for a server that is too old, or a database that cannot hold every text.

    The transaction may take as long as it needs from here on: it is the one that changes tables.
    """
    number, encoding, fsync = (
        db.exec_driver_sql(f"SHOW {name}").scalar_one() for name in ("server_version_num", "server_encoding", "fsync")
    )
    if int(number) < _OLDEST * 10_000:
        raise FailedPrecondition(
            f"The PostgreSQL server has version {int(number) // 10_000}.", hint=f"Take {_OLDEST} or newer."
        )
    if encoding != "UTF8":
        raise FailedPrecondition(
            f"The control database has the encoding {encoding}.",
            hint="Create it anew: `createdb -T template0 -E UTF8 --locale=C pilotlight`.",
        )
    if fsync != "on":
        log.warning("The PostgreSQL server runs with fsync off: a power failure may lose or damage all of it.")
    db.exec_driver_sql("SET LOCAL statement_timeout = 0")


def is_transient(error: BaseException) -> bool:
    """Whether a psycopg error is about the server or the moment, rather than about what was asked."""
    import psycopg

    state = getattr(error, "sqlstate", None)
    if state is None:  # no server has spoken: refused, cut off, timed out
        return isinstance(error, psycopg.OperationalError)
    return state.startswith(_TRANSIENT_CLASSES) or state in _TRANSIENT


def _on_connect(connection: Any, _record: Any) -> None:
    connection.execute(_SETTINGS, [word for pair in _SESSION.items() for word in pair])
    connection.commit()


def _on_begin(connection: Any) -> None:
    # At the isolation level `read committed` each statement after the lock sees what the last writer committed.
    options = connection.get_execution_options()
    writing = _WRITE_RELAXED if options.get("relaxed", False) else _WRITE
    connection.exec_driver_sql(_READ if options.get("readonly", False) else writing)
