"""The gateway's transactions: one writer thread, two durabilities.

What can cost money is on disk before it is forwarded (`durable`). Verdicts on free calls are committed before they are
forwarded too, but survive a power failure only with the next durable commit (`quick`): a disk flush takes longer than
the call they are about.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, RootTransaction, event, text

from gateway import audit
from gateway.tables import create_tables
from manifest.facts import Owner
from pilotlight.clock import now, to_rfc3339
from pilotlight.database import DatabaseUnavailable, open_engine

_T = TypeVar("_T")
_OWNER = text("SELECT owner, session FROM gateway_owners WHERE name = :name")
_OWN = text(
    "INSERT INTO gateway_owners (name, owner, session, method, create_time)"
    " VALUES (:name, :owner, :session, :method, :now)"
    " ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, session = excluded.session, method = excluded.method,"
    " create_time = excluded.create_time"
)
_OWNED = text("SELECT name FROM gateway_owners WHERE session = :session ORDER BY create_time, name")


class Store:
    """Opened once per gateway. Functions run in one thread, each in a transaction of its own."""

    def __init__(self, engine: Engine) -> None:
        create_tables(engine)
        self._durable = engine
        self._quick = _open_quick(engine)
        self._inline: Connection | None = None
        """The event loop's own connection: it never waits for a lock, and checking one out costs more than its use."""
        self._writer = ThreadPoolExecutor(1, "gateway-ledger")

    async def durable(self, function: Callable[[Connection], _T]) -> _T:
        """Run in a transaction that is on disk when this returns."""
        return await asyncio.get_running_loop().run_in_executor(self._writer, _run, self._durable, function)

    async def quick(self, function: Callable[[Connection], _T]) -> _T:
        """Run in a transaction that is committed, but perhaps not yet on disk, when this returns.

        At once where nobody holds SQLite's write lock: a hop to the writer thread and back takes longer than the work,
        and on a busy machine much longer. Else, and with a server to wait for, in the writer thread, in its turn.
        """
        if self._durable.dialect.name == "sqlite":
            self._inline = self._inline or _open_inline(self._quick)
            if transaction := _try_to_begin(self._inline):
                with transaction:
                    return function(self._inline)
        return await asyncio.get_running_loop().run_in_executor(self._writer, _run, self._quick, function)

    def read(self, function: Callable[[Connection], _T]) -> _T:
        """Run in a snapshot that never waits for a writer."""
        with self._quick.execution_options(readonly=True).connect() as db:
            return function(db)

    def owner_of(self, name: str) -> Owner | None:
        """Who created `name` through this gateway."""
        row = self.read(lambda db: db.execute(_OWNER, {"name": name}).first())
        return Owner(row[0], row[1]) if row else None

    def created_by(self, session: str) -> list[str]:
        """Names of all that a session created, oldest first."""
        return self.read(lambda db: list(db.execute(_OWNED, {"session": session}).scalars()))

    def export_head(self, path: Path) -> audit.Head:
        """Write the head of the audit chain to a file."""
        return audit.export_head(self._quick, path)

    def close(self) -> None:
        """Finish what is queued, then close."""
        self._writer.shutdown()
        if self._inline is not None:
            self._inline.close()
        if self._durable.dialect.name == "sqlite":
            self._quick.dispose()


def record_owner(db: Connection, name: str, owner: Owner, method: str) -> None:
    """Note the creator of a resource; a name that was deleted and made again has a new one."""
    values = {"name": name, "owner": owner.user, "session": owner.session, "method": method}
    db.execute(_OWN, values | {"now": to_rfc3339(now())})


def _run(engine: Engine, function: Callable[[Connection], _T]) -> _T:
    with engine.begin() as db:
        return function(db)


def _open_quick(engine: Engine) -> Engine:
    if engine.dialect.name != "sqlite":
        return engine.execution_options(relaxed=True)
    quick = open_engine(engine.url.render_as_string(hide_password=False))
    event.listen(quick, "connect", _relax)
    return quick


def _open_inline(quick: Engine) -> Connection:
    connection = quick.connect()
    driver: Any = connection.connection.driver_connection
    driver.execute("PRAGMA busy_timeout=0")
    return connection


def _try_to_begin(connection: Connection) -> RootTransaction | None:
    try:
        return connection.begin()
    except DatabaseUnavailable:  # locked; the writer thread waits, and says so when it is something else
        return None


def _relax(connection: Any, _record: Any) -> None:
    connection.execute("PRAGMA synchronous=NORMAL")
