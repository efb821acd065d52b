"""What is special about a server: other clients, other locales, rights, limits."""

import asyncio
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event, text
from sqlalchemy.exc import DatabaseError

from gateway import audit
from gateway.store import Store, record_owner
from manifest.facts import Owner
from pilotlight.database import DatabaseUnavailable
from pilotlight.errors import FailedPrecondition
from pilotlight.schema import migrate
from tests.fixtures.control import ControlServer
from tests.fixtures.databases import create_all_tables

pytestmark = pytest.mark.postgres
NOTE = {"principal": "ann", "method": "", "resource": "r", "verdict": "set", "rule": "r", "detail": {}}
Opener = Callable[[str], Engine]
Maker = Callable[..., str]


@pytest.fixture
def engine(database: Maker, open_at: Opener) -> Engine:
    engine = open_at(database())
    migrate(engine)
    create_all_tables(engine)
    return engine


def run_at(url: str, home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PILOTLIGHT_DATABASE_URL": url, "PILOTLIGHT_HOME": str(home)}
    command = [sys.executable, "-P", "-m", *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=home)


def test_the_audit_is_append_only_and_its_command_finds_what_a_superuser_does(engine: Engine, tmp_path: Path) -> None:
    for _ in range(5):
        with engine.begin() as db:
            audit.append(db, **NOTE)
    for statement in ("TRUNCATE gateway_audit", "DELETE FROM gateway_audit", "UPDATE gateway_audit SET rule = 'x'"):
        with pytest.raises(DatabaseError, match="append-only"), engine.begin() as db:
            db.execute(text(statement))
    assert (audit.verify(engine).intact, audit.verify(engine).rows) == (True, 5)
    with engine.begin() as db:
        db.execute(text("ALTER TABLE gateway_audit DISABLE TRIGGER ALL"))
        db.execute(text("UPDATE gateway_audit SET resource = 'other' WHERE seq = 3"))
    url = engine.url.render_as_string(hide_password=False)
    done = run_at(url, tmp_path, "cli.operator", "audit", "verify")
    assert (done.returncode, done.stdout[:16]) == (1, "BROKEN at row 3:")
    done = run_at(re.sub(r":\d+/", ":1/", url), tmp_path, "gateway.verify")
    assert (done.returncode, done.stdout) == (2, "")
    assert "does not answer" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_stopped_process_cannot_keep_the_write_lock(engine: Engine, open_at: Opener) -> None:
    zombie, url = engine.connect(), engine.url.render_as_string(hide_password=False)
    with zombie:
        limit = zombie.exec_driver_sql("SHOW idle_in_transaction_session_timeout").scalar_one()
        assert limit == "30s"
        zombie.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = '300ms'")
        audit.append(zombie, **NOTE)
        with open_at(url).begin() as db:  # waits for the zombie's end
            assert audit.append(db, **NOTE).seq == 1
        with pytest.raises(DatabaseUnavailable):
            audit.append(zombie, **NOTE)
    assert audit.verify(engine).rows == 1


def test_a_wait_for_the_write_lock_has_an_end(engine: Engine, open_at: Opener) -> None:
    def hurry(connection: Any, _record: Any) -> None:
        assert connection.execute("SHOW lock_timeout").fetchone() == ("1min",)
        connection.execute("SET lock_timeout = 200")
        connection.commit()

    hasty = open_at(engine.url.render_as_string(hide_password=False))
    event.listen(hasty, "connect", hurry)
    with engine.begin() as holder:
        audit.append(holder, **NOTE)
        with pytest.raises(DatabaseUnavailable), hasty.begin():
            pass
    with hasty.begin() as db:
        assert audit.append(db, **NOTE).seq == 2


def test_only_one_writes_at_a_time(engine: Engine) -> None:
    def write() -> None:
        for _ in range(10):
            with engine.begin() as db:
                audit.append(db, **NOTE)

    threads = [threading.Thread(target=write) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    report = audit.verify(engine)
    assert (report.intact, report.rows) == (True, 60)


def test_a_reader_cannot_write(engine: Engine) -> None:
    with pytest.raises(DatabaseError, match="read-only"), engine.execution_options(readonly=True).connect() as db:
        audit.append(db, **NOTE)


def test_only_what_is_free_is_committed_without_the_disk(engine: Engine) -> None:
    store = Store(engine)
    asked = text("SHOW synchronous_commit")

    async def ask() -> list[str]:
        runs = (store.quick, store.durable, store.quick)
        return [await run(lambda db: db.execute(asked).scalar_one()) for run in runs]

    assert asyncio.run(ask()) == ["off", "on", "off"]
    asyncio.run(store.quick(lambda db: record_owner(db, "a", Owner("ann", "s1"), "m")))
    assert store.created_by("s1") == ["a"]
    store.close()


def test_times_have_their_order_in_any_locale(server: object, database: Maker, open_at: Opener) -> None:
    engine = open_at(database("ENCODING 'UTF8' LOCALE_PROVIDER icu ICU_LOCALE 'en-US' LOCALE 'C'"))
    times = ["2026-05-18T20:31:12.123456Z", "2026-05-18T20:31:12.123457Z", "2026-05-18T20:31:13.000000Z"]
    with engine.begin() as db:
        assert db.execute(text("SELECT 'a' < 'B'")).scalar_one()  # by the language, not by the bytes
        query = text("SELECT t FROM unnest(CAST(:times AS text[])) AS t ORDER BY t")
        assert list(db.execute(query, {"times": times[::-1]}).scalars()) == times


def test_a_database_that_cannot_hold_every_text_is_refused(database: Maker, open_at: Opener) -> None:
    engine = open_at(database("ENCODING 'LATIN1' LOCALE 'C'"))
    with pytest.raises(FailedPrecondition, match=r"LATIN1.*createdb"):
        migrate(engine)


def test_two_control_processes_start_and_work_on_one_database(
    database: Maker, serve: Callable[..., ControlServer], open_at: Opener
) -> None:
    url = database()
    first = serve(url)
    second = serve(url, first.settings.home)
    for control in (first, second):  # FastAPI builds its routes at the first request, which two threads at once disturb
        control.http.get(control.collection).raise_for_status()
    barrier, made = threading.Barrier(8), list[str]()

    def create(control: ControlServer, number: int) -> None:
        barrier.wait()
        body = {"instruction": "finish", "requestId": f"same-{number % 4}"}
        made.append(control.post("", body)["sessionId"])

    threads = [threading.Thread(target=create, args=((first, second)[n // 4], n)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(made) == 8
    assert len(set(made)) == 4  # one for each request ID, whichever process was asked
    engine = open_at(url)
    with engine.connect() as db:
        assert sorted(db.execute(text("SELECT slot FROM sessions")).scalars()) == [1, 2, 3, 4]
        assert db.execute(text("SELECT COUNT(*) FROM schema_version")).scalar_one() == 1
    assert audit.verify(engine).intact
