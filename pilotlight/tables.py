"""Tables of the control database: creation of what is missing."""

from collections.abc import Sequence

from sqlalchemy import Engine, Table, inspect
from sqlalchemy.schema import CreateColumn
from sqlmodel import SQLModel


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
