"""Tables of the control database: creation of what is missing."""

from collections.abc import Sequence

from sqlalchemy import Engine
from sqlmodel import SQLModel


def make_tables(engine: Engine, rows: Sequence[type[SQLModel]]) -> None:
    """Create the tables of `rows` that are missing; `pilotlight.schema` brings older ones up to date."""
    tables = [SQLModel.metadata.tables[str(row.__tablename__)] for row in rows]
    with engine.begin() as db:  # under the write lock: of two that start at once, one finds nothing missing
        SQLModel.metadata.create_all(db, tables=tables)
