"""The few statements that every call waits for, run on the driver's own cursor inside SQLAlchemy's transaction.

SQLAlchemy's `execute` costs ten times what SQLite needs for them. What is given up: type conversion and named columns.
"""

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, TypeVar

from sqlalchemy import Connection, Dialect, TextClause, text
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.exc import DBAPIError

from pilotlight.database import check_text, unavailable_for

_T = TypeVar("_T")
_NONE: Mapping[str, Any] = {}
_SAVE, _BACK, _RELEASE = (text(f"{verb} SAVEPOINT gateway") for verb in ("", "ROLLBACK TO", "RELEASE"))


def change(db: Connection, statement: TextClause, values: Mapping[str, Any] = _NONE) -> int:
    """Run a statement that returns nothing; how many rows it changed. Raises as SQLAlchemy's own execute does."""
    return _run(db, statement, values, lambda cursor: cursor.rowcount)


def fetch(db: Connection, statement: TextClause, values: Mapping[str, Any] = _NONE) -> list[tuple[Any, ...]]:
    """All rows of a query, or of a RETURNING. Raises as SQLAlchemy's own execute does."""
    return _run(db, statement, values, lambda cursor: list(cursor.fetchall()))


@contextmanager
def savepoint(db: Connection) -> Generator[None]:
    """What runs inside is undone when it raises; the transaction around it goes on. Not to be nested."""
    change(db, _SAVE)
    try:
        yield
    except BaseException:
        change(db, _BACK)
        change(db, _RELEASE)
        raise
    change(db, _RELEASE)


def _run(db: Connection, statement: TextClause, values: Mapping[str, Any], read: Callable[[DBAPICursor], _T]) -> _T:
    sql, order = _compile(statement, db.dialect)
    check_text(values)
    given: Any = dict(values) if order is None else tuple([values[name] for name in order])
    if not db.in_transaction():
        db.begin()
    cursor = db.connection.cursor()
    try:
        cursor.execute(sql, given)
        return read(cursor)
    except db.dialect.loaded_dbapi.Error as error:
        raise _wrap(db, sql, given, error) from error
    finally:
        cursor.close()


def _wrap(db: Connection, sql: str, given: Any, error: Any) -> Exception:
    lost = db.dialect.is_disconnect(error, db.connection.dbapi_connection, None)
    if lost:
        db.invalidate(error)
    kind = db.dialect.loaded_dbapi.Error
    return unavailable_for(error, disconnected=lost) or DBAPIError.instance(sql, given, error, kind, dialect=db.dialect)


@lru_cache(256)
def _compile(statement: TextClause, dialect: Dialect) -> tuple[str, tuple[str, ...] | None]:
    compiled = statement.compile(dialect=dialect)
    names: list[str] | None = getattr(compiled, "positiontup", None)
    return str(compiled), None if names is None else tuple(names)
