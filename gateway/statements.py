"""The few statements that every call waits for, run on the driver's own cursor inside SQLAlchemy's transaction.

SQLAlchemy's `execute` costs ten times what SQLite needs for them. What is given up: type conversion and named columns.
"""

from collections.abc import Generator, Mapping
from contextlib import closing, contextmanager
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Dialect, TextClause, text
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.exc import DBAPIError

_SAVE, _BACK, _RELEASE = (text(f"{verb} SAVEPOINT gateway") for verb in ("", "ROLLBACK TO", "RELEASE"))


def change(db: Connection, statement: TextClause, values: Mapping[str, Any] | None = None) -> int:
    """Run a statement that returns nothing; how many rows it changed. Raises sqlalchemy.exc.DBAPIError."""
    with _executed(db, statement, values) as cursor:
        return cursor.rowcount


def fetch(db: Connection, statement: TextClause, values: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
    """All rows of a query, or of a RETURNING. Raises sqlalchemy.exc.DBAPIError."""
    with _executed(db, statement, values) as cursor:
        return list(cursor.fetchall())


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


@contextmanager
def _executed(db: Connection, statement: TextClause, values: Mapping[str, Any] | None) -> Generator[DBAPICursor]:
    sql, order = _compile(statement, db.dialect)
    given = values or {}
    found: Any = dict(given) if order is None else tuple(given[name] for name in order)
    if not db.in_transaction():
        db.begin()
    with closing(db.connection.cursor()) as cursor:
        try:
            cursor.execute(sql, found)
            yield cursor
        except db.dialect.loaded_dbapi.Error as error:
            raise DBAPIError.instance(sql, found, error, db.dialect.loaded_dbapi.Error, dialect=db.dialect) from error


@lru_cache(256)
def _compile(statement: TextClause, dialect: Dialect) -> tuple[str, tuple[str, ...] | None]:
    compiled = statement.compile(dialect=dialect)
    names: list[str] | None = getattr(compiled, "positiontup", None)
    return str(compiled), None if names is None else tuple(names)
