"""Running the gateway's SQL: compiled once, since compiling and looking it up costs more than its execution."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, CursorResult, Dialect, TextClause


def run(db: Connection, statement: TextClause, values: Mapping[str, Any] | None = None) -> CursorResult[Any]:
    """Like `db.execute(statement, values)` for plain text: one set of values, no type conversion, every value given."""
    sql, order = _compile(statement, db.dialect)
    given = values or {}
    if order is None:
        return db.exec_driver_sql(sql, dict(given))
    return db.exec_driver_sql(sql, tuple(given[name] for name in order))


@contextmanager
def savepoint(db: Connection) -> Generator[None]:
    """What runs inside is undone when it raises; the transaction around it goes on. Not to be nested."""
    db.exec_driver_sql("SAVEPOINT gateway")
    try:
        yield
    except BaseException:
        db.exec_driver_sql("ROLLBACK TO SAVEPOINT gateway")
        db.exec_driver_sql("RELEASE SAVEPOINT gateway")
        raise
    db.exec_driver_sql("RELEASE SAVEPOINT gateway")


@lru_cache(256)
def _compile(statement: TextClause, dialect: Dialect) -> tuple[str, tuple[str, ...] | None]:
    compiled = statement.compile(dialect=dialect)
    names: list[str] | None = getattr(compiled, "positiontup", None)
    return str(compiled), None if names is None else tuple(names)
