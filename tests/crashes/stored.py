"""What the control database holds, as plain rows, and whether its audit is whole."""

from typing import Any

from sqlalchemy import Engine, text

from gateway import audit
from pilotlight.database import open_engine

Json = dict[str, Any]
TABLES = (
    "sessions",
    "events",
    "questions",
    "answers",
    "turns",
    "requests",
    "gateway_effects",
    "gateway_grants",
    "gateway_limits",
    "gateway_reservations",
    "gateway_owners",
    "gateway_audit",
)


def read_tables(url: str) -> tuple[dict[str, list[Json]], str]:
    """All rows, and what is wrong with the audit's hash chain (empty: nothing)."""
    engine = open_engine(url)
    try:
        return {table: _read(engine, table) for table in TABLES}, audit.verify(engine).problem
    finally:
        engine.dispose()


def _read(engine: Engine, table: str) -> list[Json]:
    with engine.connect() as db:
        return [dict(row) for row in db.execute(text(f"SELECT * FROM {table}")).mappings()]
