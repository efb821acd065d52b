"""Notices what other processes wrote: one cheap look at the database for all watched sessions together.

Commits of this process ring the bell themselves. While nothing at all is written, no table is read.
"""

import asyncio
import logging
from collections.abc import Callable
from threading import Lock
from typing import Any

from sqlalchemy import Engine, text
from sqlmodel import Session, col, select
from starlette.concurrency import run_in_threadpool

from agent.store import reading
from agent.tables import SessionRow
from agent.watch import BELL

log = logging.getLogger(__name__)
_SECONDS = 0.25
_AT_ONCE = 500


class Ticker:
    """Rings for each session of `positions()` whose log has another end than told there, or that is gone."""

    def __init__(self, engine: Engine, positions: Callable[[], dict[str, int]]) -> None:
        self._engine, self._positions = engine, positions
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look, if not begun."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="ticker")

    def stop(self) -> None:
        """Nobody watches."""
        if self._task:
            self._task.cancel()
            self._task = None

    async def _run(self) -> None:
        mark = _Mark(self._engine)
        try:
            known: Any = None
            while True:
                known = await self._look(mark, known)
                await asyncio.sleep(_SECONDS)
        finally:
            mark.end()

    async def _look(self, mark: "_Mark", known: Any) -> Any:
        try:
            now = await run_in_threadpool(mark.read)
            if now != known:
                for session_id in await run_in_threadpool(_find_changed, self._engine, self._positions()):
                    BELL.ring(session_id)
        except Exception:  # a database that is away comes back: look again then, at everything
            log.exception("The database could not be asked for news.")
            mark.close()
            return None
        return now


class _Mark:
    """A value that changes with every commit to the database by anybody.

    A cancelled reader leaves its thread at work, so the connection is not closed under it.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine, self._lock, self._ended = engine, Lock(), False
        self._connection: Any = None

    def read(self) -> Any:
        """The value now; None after the end."""
        if self._engine.dialect.name != "sqlite":
            with self._engine.execution_options(readonly=True).connect() as connection:
                return connection.execute(text("SELECT pg_current_wal_insert_lsn()::text")).scalar_one()
        with self._lock:
            return None if self._ended else self._read_version()

    def close(self) -> None:
        """Begin with another connection at the next look."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def end(self) -> None:
        """Close for good."""
        self._ended = True
        self.close()

    def _read_version(self) -> Any:
        if self._connection is None:
            # The value is relative to one connection, so it must stay open; it never holds a lock.
            self._connection = self._engine.raw_connection()
            self._connection.detach()
        return self._connection.cursor().execute("PRAGMA data_version").fetchone()[0]


def _find_changed(engine: Engine, positions: dict[str, int]) -> list[str]:
    names = list(positions)
    with reading(engine) as db:
        ends = {
            name: last
            for start in range(0, len(names), _AT_ONCE)
            for name, last in _read_ends(db, names[start : start + _AT_ONCE])
        }
    return [name for name in names if ends.get(name) != positions[name]]


def _read_ends(db: Session, names: list[str]) -> list[tuple[str, int]]:
    query = select(SessionRow.id, SessionRow.last_seq).where(col(SessionRow.id).in_(names))
    return list(db.exec(query).all())
