"""Quick transactions run at once, and wait in the writer thread while somebody else holds the lock."""

import asyncio
import threading
from pathlib import Path

import pytest
from sqlalchemy import text

from gateway.store import Store, record_owner
from manifest.facts import Owner
from tests.fixtures.databases import Databases


def test_quick_writes_survive_a_lock_held_by_another(tmp_path: Path, databases: Databases) -> None:
    engine = databases.open(tmp_path / "control.db")
    store = Store(engine)
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with engine.begin() as db:
            db.execute(text("UPDATE gateway_limits SET held_micros = 0"))
            held.set()
            done.wait(10)

    async def use() -> None:
        await store.quick(lambda db: record_owner(db, "a", Owner("ann", "s1"), "m"))
        thread = threading.Thread(target=hold)
        thread.start()
        held.wait(10)
        writing = asyncio.create_task(store.quick(lambda db: record_owner(db, "b", Owner("ann", "s1"), "m")))
        await asyncio.sleep(0.2)  # the loop goes on while the write waits
        assert not writing.done()
        done.set()
        await writing
        thread.join()
        start, sqlite = threading.current_thread(), engine.dialect.name == "sqlite"
        assert (await store.quick(lambda _: threading.current_thread()) is start) == sqlite
        assert await store.durable(lambda _: threading.current_thread()) is not start
        with pytest.raises(ZeroDivisionError):
            await store.quick(lambda db: db.execute(text("DELETE FROM gateway_owners")) and 1 / 0)

    asyncio.run(use())
    assert store.created_by("s1") == ["a", "b"]
    assert store.owner_of("c") is None
    store.close()
