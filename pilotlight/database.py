"""Database engines: SQLite (WAL, durable) or PostgreSQL by URL. One engine per process."""

from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event, make_url
from sqlmodel import create_engine


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


def _on_connect(connection: Any, _record: Any) -> None:
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=60000"):
        connection.execute(f"PRAGMA {pragma}")


def _on_begin(connection: Any) -> None:
    readonly = connection.get_execution_options().get("readonly", False)
    connection.exec_driver_sql("BEGIN" if readonly else "BEGIN IMMEDIATE")
