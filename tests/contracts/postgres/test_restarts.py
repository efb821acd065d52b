"""The database server crashes and comes back under load: nothing that was acknowledged is lost, nothing is doubled."""

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlmodel import Session, col, select

from agent import journal
from agent.tables import EventRow, SessionRow
from gateway import audit
from pilotlight.database import DatabaseUnavailable
from tests.fixtures.control import ControlServer
from tests.fixtures.postgres import PostgresServer

pytestmark = pytest.mark.postgres
WRITERS = 4


class Load:
    """Writers that ask again while the database is away, until told to stop."""

    def __init__(self, control: ControlServer, engine: Engine, session: str) -> None:
        self.control, self.engine, self.session = control, engine, session
        self.created: list[str] = []
        self.appended: dict[str, int] = {}
        self.refused = 0
        self._over = threading.Event()
        works = [self._create, *(partial(self._append, number) for number in range(WRITERS))]
        self._threads = [threading.Thread(target=work, daemon=True) for work in works]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(60)
        assert not any(thread.is_alive() for thread in self._threads)

    def go_on(self) -> None:
        """Wait until more of both is acknowledged."""
        created, appended, deadline = len(self.created), len(self.appended), time.monotonic() + 60
        while len(self.created) < created + 2 or len(self.appended) < appended + WRITERS:
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def _create(self) -> None:
        while not self._over.wait(0.1):
            reply = self._post({"instruction": "finish", "requestId": f"request-{len(self.created)}"})
            self.created.append(reply["sessionId"])

    def _post(self, body: dict[str, Any]) -> Any:
        while (response := self.control.http.post(self.control.collection, json=body)).status_code != 200:
            error = response.json()["error"]
            assert (response.status_code, error["status"]) == (503, "UNAVAILABLE"), response.text
            self.refused += 1
            time.sleep(0.05)
        return response.json()

    def _append(self, number: int) -> None:
        count = 0
        while not self._over.wait(0.02):
            count += 1
            key = f"w/{number}/{count}"
            while key not in self.appended:
                try:
                    with Session(self.engine) as db, db.begin():
                        seq = journal.append(db, self.session, "job", {"n": count}, key=key)
                        audit.append(
                            db.connection(), principal=key, method="", resource=self.session, verdict="set", rule="r",
                            detail={},
                        )  # fmt: skip
                    self.appended[key] = seq
                except DatabaseUnavailable:
                    self.refused += 1
                    time.sleep(0.05)


def watch(control: ControlServer, session: str, seen: list[int]) -> None:
    for event in control.stream(session):
        if event["event"] != "done":
            seen.append(int(event["id"]))


def test_a_crash_under_load_loses_and_doubles_nothing(
    server: PostgresServer,
    database: Callable[..., str],
    serve: Callable[[str], ControlServer],
    open_at: Callable[[str], Engine],
) -> None:
    url = database()
    control, engine = serve(url), open_at(url)
    session, seen = control.create("flood 20; wait go; finish"), list[int]()
    control.settle(session, "running")
    watcher = threading.Thread(target=watch, args=(control, session, seen), daemon=True)
    watcher.start()
    with Load(control, engine, session) as load:
        for end in (server.crash, server.stop, server.crash):
            load.go_on()
            end()
            time.sleep(0.2)
            server.start()
        load.go_on()
    assert load.refused > 0
    (control.workspace(session) / "go").touch()
    watcher.join(60)
    assert not watcher.is_alive()
    with Session(engine) as db:
        rows = db.exec(select(EventRow.key, EventRow.seq).where(EventRow.session_id == session)).all()
        stored = set(db.exec(select(SessionRow.id)).all())
    assert {key: seq for key, seq in rows if key in load.appended} == load.appended
    assert set(load.created) | {session} == stored
    assert len(load.created) == len(set(load.created))
    assert audit.verify(engine).intact
    with Session(engine) as db:
        log = db.exec(select(EventRow.seq).where(EventRow.session_id == session).order_by(col(EventRow.seq))).all()
    assert seen == list(log) == list(range(1, len(log) + 1))
