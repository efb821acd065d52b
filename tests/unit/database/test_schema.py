"""Databases of older releases open and become what a new one is; those of newer ones are refused."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, inspect, text

from gateway import audit
from pilotlight.errors import FailedPrecondition
from pilotlight.schema import LATEST, check_version, migrate
from pilotlight.schema.version import read_version, record_version
from pilotlight.settings import Settings
from tests.fixtures import golden
from tests.fixtures.databases import Databases, create_all_tables
from tests.fixtures.desk import Desk, approve

ADD = "ALTER TABLE sessions ADD COLUMN colour VARCHAR"


@pytest.fixture
def empty(tmp_path: Path, databases: Databases) -> Callable[[], Engine]:
    """Makes databases without any table."""
    numbers = iter(range(9))
    return lambda: databases.open(tmp_path / f"empty-{next(numbers)}.db", empty=True)


@pytest.fixture
def old(empty: Callable[[], Engine]) -> Engine:
    """A database of the first release, as its dump says."""
    engine = empty()
    golden.restore(1, engine.url.render_as_string(hide_password=False))
    return engine


def version_of(engine: Engine) -> int | None:
    with engine.execution_options(readonly=True).connect() as db:
        return read_version(db)


def describe(engine: Engine) -> dict[str, Any]:
    """All tables with their columns, keys and indexes, without an order."""
    tables = inspect(engine)
    return {name: describe_table(tables, name) for name in tables.get_table_names()}


def describe_table(tables: Any, name: str) -> dict[str, Any]:
    columns = {c["name"]: (str(c["type"]), c["nullable"], c["default"]) for c in tables.get_columns(name)}
    indexes = {(i["name"], tuple(i["column_names"]), bool(i["unique"])) for i in tables.get_indexes(name)}
    foreign = {
        (tuple(f["constrained_columns"]), f["referred_table"], tuple(f["referred_columns"]))
        for f in tables.get_foreign_keys(name)
    }
    unique = {tuple(u["column_names"]) for u in tables.get_unique_constraints(name)}
    key = tables.get_pk_constraint(name)["constrained_columns"]
    return {"columns": columns, "indexes": indexes, "foreign": foreign, "unique": unique, "key": key}


def test_the_first_release_becomes_what_a_new_database_is(old: Engine, empty: Callable[[], Engine]) -> None:
    """Fails when a table changed without a step: add `pilotlight/schema/steps/step_<next>_<what>.py`."""
    assert version_of(old) == 1
    fresh = empty()
    for engine in (old, fresh):
        migrate(engine)
        create_all_tables(engine)
    assert version_of(old) == version_of(fresh) == LATEST
    assert describe(old) == describe(fresh)


def test_what_the_first_release_stored_is_still_used(old: Engine, tmp_path: Path) -> None:
    migrate(old)
    create_all_tables(old)
    with old.begin() as db:  # the golden plans were open for an hour of the day that they were made
        db.execute(text('UPDATE plans SET document = REPLACE(document, \'"expires":"2026\', \'"expires":"2999\')'))
    desk = Desk(old, Settings(home=tmp_path, account="acme", sandbox="none"))
    waiting, approved = sorted(desk.all(), key=lambda session: session["status"], reverse=True)
    assert (waiting["status"], waiting["instruction"]) == ("waiting", "Run SFT on naïve 日本語 🙂")
    assert approved["status"] == "pending"
    assert desk.update(waiting["sessionId"], **approve())["status"] == "pending"
    assert len(desk.grants(waiting["sessionId"])) == len(desk.grants(approved["sessionId"])) == 1
    report = audit.verify(old)
    assert report.intact
    assert report.rows > 1


def test_a_newer_database_is_refused_and_left_alone(empty: Callable[[], Engine]) -> None:
    engine = empty()
    with engine.begin() as db:
        record_version(db, LATEST + 1)
    before = describe(engine)
    for opens in (migrate, check_version):
        with pytest.raises(FailedPrecondition, match=f"version {LATEST + 1} of the schema.*newer release"):
            opens(engine)
    assert describe(engine) == before


def test_a_step_that_fails_changes_nothing(old: Engine) -> None:
    def fail(_db: Connection) -> None:
        raise ZeroDivisionError

    before = describe(old)
    with pytest.raises(ZeroDivisionError):
        migrate(old, {2: lambda db: db.execute(text(ADD)) and None, 3: fail})
    assert (version_of(old), describe(old)) == (1, before)


def test_steps_run_once_and_in_order_whoever_opens(old: Engine) -> None:
    ran: list[int] = []

    def second(db: Connection) -> None:
        ran.append(2)
        db.execute(text(ADD))

    def third(db: Connection) -> None:
        ran.append(3)
        db.execute(text("UPDATE sessions SET colour = 'red'"))

    starters = [threading.Thread(target=migrate, args=(old, {2: second, 3: third})) for _ in range(4)]
    for starter in starters:
        starter.start()
    for starter in starters:
        starter.join(60)
    assert (ran, version_of(old)) == ([2, 3], 3)
