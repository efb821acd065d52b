"""Database engines: SQLite (WAL, durable) or PostgreSQL by URL, with the same semantics. One engine per process.

A transaction that may write holds the database's only write lock from its first statement to its end, so it never
decides on what has changed since it read. Pure readers take `engine.execution_options(readonly=True)`: one snapshot,
and no wait for a writer. What cannot be done now (no server, no lock within a minute, a full disk) is Unavailable, and
text that PostgreSQL could not hold is InvalidArgument on both.
"""

import logging
import sqlite3
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Engine, event, make_url
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlmodel import create_engine

from pilotlight import postgres
from pilotlight.errors import FailedPrecondition, InvalidArgument, Unavailable

log = logging.getLogger(__name__)

_QUIET = 10.0
_told: dict[str, float] = {}
_TRANSIENT = frozenset({5, 6, 10, 13, 14})
"""SQLite's result codes BUSY, LOCKED, IOERR, FULL and CANTOPEN."""


class DatabaseUnavailable(Unavailable, SQLAlchemyError):
    """The database cannot do it now: no server, no lock in time, a full disk. What was not committed did not happen.

    When the answer to a commit is lost, nobody knows whether it did: read, then decide.
    """


def open_engine(url: str) -> Engine:
    """An engine for `url`; nothing is connected yet. Creates the folder of a SQLite file.

    Raises FailedPrecondition for a URL of neither database, and without the driver that it needs.
    """
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise FailedPrecondition(
            "PILOTLIGHT_DATABASE_URL is not a URL.", hint="It looks like postgresql://user@host:5432/pilotlight."
        ) from error
    backend = parsed.get_backend_name()
    if backend == "sqlite":
        engine = _open_sqlite(parsed)
    elif backend in postgres.NAMES:
        engine = postgres.open_engine(parsed)
    else:
        raise FailedPrecondition(
            f"PILOTLIGHT_DATABASE_URL names a {backend[:40]} database.", hint="Take sqlite:/// or postgresql://."
        )
    event.listen(engine, "handle_error", _translate)
    event.listen(engine, "before_cursor_execute", _check_parameters)
    return engine


def check_text(values: Any) -> None:
    """Raises InvalidArgument for text with a NUL character, which PostgreSQL has no place for."""
    for value in values.values() if isinstance(values, Mapping) else values:
        if isinstance(value, str) and "\0" in value:
            raise InvalidArgument("A text has a NUL character (U+0000) in it.", hint="Leave it out.")


def unavailable_for(error: BaseException, *, disconnected: bool = False) -> DatabaseUnavailable | None:
    """What a driver's error is for our callers when trying again can help; None for a defect."""
    if isinstance(error, sqlite3.Error):
        transient = (getattr(error, "sqlite_errorcode", 0) & 0xFF) in _TRANSIENT
    else:
        transient = disconnected or postgres.is_transient(error)
    if not transient:
        return None
    _tell(" ".join(str(error).split()))
    return DatabaseUnavailable("The database does not answer now.", hint="Try again in a moment.")


def _tell(reason: str) -> None:
    """Into the log, the same not again within ten seconds: everything that wants the database hears of it."""
    if time.monotonic() - _told.get(reason, -_QUIET) >= _QUIET:
        _told.clear()
        _told[reason] = time.monotonic()
        log.warning("The database cannot do it now: %s", reason)


def _open_sqlite(url: URL) -> Engine:
    if url.database:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url, connect_args={"timeout": 60, "check_same_thread": False})
    event.listen(engine, "connect", _on_connect)
    event.listen(engine, "begin", _on_begin)
    return engine


def _on_connect(connection: Any, _record: Any) -> None:
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=60000"):
        connection.execute(f"PRAGMA {pragma}")


def _on_begin(connection: Any) -> None:
    readonly = connection.get_execution_options().get("readonly", False)
    connection.exec_driver_sql("BEGIN" if readonly else "BEGIN IMMEDIATE")


def _translate(context: ExceptionContext) -> DatabaseUnavailable | None:
    if context.is_pre_ping:  # the pool finds out by itself, and connects again
        return None
    return unavailable_for(context.original_exception, disconnected=context.is_disconnect)


def _check_parameters(_db: Any, _cursor: Any, _sql: str, parameters: Any, _context: Any, _many: bool) -> None:
    for values in parameters if isinstance(parameters, list) else [parameters]:
        check_text(values or ())
