"""Tables of the control database: creation of what is missing."""

from collections.abc import Sequence

from sqlalchemy import Connection, Engine, Table, inspect
from sqlalchemy.schema import CreateColumn
from sqlmodel import SQLModel


def make_tables(engine: Engine, rows: Sequence[type[SQLModel]]) -> None:
    """Create the tables of `rows` that are missing, and the columns that an earlier release did not have yet.

    A column that comes to an existing table needs a server default or no value at all.
    """
    tables = [SQLModel.metadata.tables[str(row.__tablename__)] for row in rows]
    with engine.begin() as db:  # under the write lock: of two that start at once, one finds nothing missing
        SQLModel.metadata.create_all(db, tables=tables)
        for table in tables:
            _add_columns(db, table)


def _add_columns(db: Connection, table: Table) -> None:
    known = {column["name"] for column in inspect(db).get_columns(table.name)}
    for column in table.columns:
        if column.name not in known:
            described = CreateColumn(column).compile(dialect=db.dialect)
            db.exec_driver_sql(f"ALTER TABLE {table.name} ADD COLUMN {described}")
