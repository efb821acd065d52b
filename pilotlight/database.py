"""Database engines: SQLite (WAL, durable) or PostgreSQL by URL. One engine per process."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, Float, Table, event, inspect, make_url
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.schema import CreateColumn
from sqlalchemy.sql.expression import FunctionElement
from sqlmodel import SQLModel, create_engine


class ClockSeconds(FunctionElement[float]):
    """SQL: seconds since the epoch by the database's clock, the one clock that all processes of a database share."""

    type = Float()
    inherit_cache = True


@compiles(ClockSeconds, "sqlite")
def _of_sqlite(_element: Any, _compiler: Any, **_: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(ClockSeconds, "postgresql")
def _of_postgresql(_element: Any, _compiler: Any, **_: Any) -> str:
    return "CAST(extract(epoch FROM clock_timestamp()) AS double precision)"


def open_engine(url: str) -> Engine:
    """Open `url`; creates the folder of a SQLite file. Writers wait up to 60 s for the lock instead of failing.

    SQLite transactions start with BEGIN IMMEDIATE, so a read-then-write transaction cannot lose its snapshot; pure
    readers take `engine.execution_options(readonly=True)` and never wait for a writer.
    """
    if not url.startswith("sqlite"):
        return create_engine(url, pool_pre_ping=True)
    if path := make_url(url).database:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url, connect_args={"timeout": 60, "check_same_thread": False})
    event.listen(engine, "connect", _on_connect)
    event.listen(engine, "begin", _on_begin)
    return engine


def make_tables(engine: Engine, rows: Sequence[type[SQLModel]]) -> None:
    """Create the tables of `rows` that are missing, and the columns that an earlier release did not have yet.

    A column that comes to an existing table needs a server default or no value at all.
    """
    tables = [SQLModel.metadata.tables[str(row.__tablename__)] for row in rows]
    SQLModel.metadata.create_all(engine, tables=tables)
    for table in tables:
        _add_columns(engine, table)


def _add_columns(engine: Engine, table: Table) -> None:
    known = {column["name"] for column in inspect(engine).get_columns(table.name)}
    missing = [column for column in table.columns if column.name not in known]
    with engine.begin() as db:
        for column in missing:
            described = CreateColumn(column).compile(dialect=engine.dialect)
            db.exec_driver_sql(f"ALTER TABLE {table.name} ADD COLUMN {described}")


def _on_connect(connection: Any, _record: Any) -> None:
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=60000"):
        connection.execute(f"PRAGMA {pragma}")


def _on_begin(connection: Any) -> None:
    readonly = connection.get_execution_options().get("readonly", False)
    connection.exec_driver_sql("BEGIN" if readonly else "BEGIN IMMEDIATE")
