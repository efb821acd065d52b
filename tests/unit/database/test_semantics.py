"""What all proofs rest on, the same on both databases: one writer, snapshots, whole texts and whole numbers."""

import random
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.dialects import postgresql
from sqlmodel import Session, SQLModel, select

from agent.tables import PlanRow, SessionRow
from gateway.statements import change, fetch
from gateway.tables import LimitRow, OwnerRow
from pilotlight.clock import to_rfc3339
from pilotlight.errors import InvalidArgument
from tests.fixtures.databases import Databases, create_all_tables

SMALL = {
    "slot",
    "turn",
    "number",
    "code",
    "replicas",
    "exit_code",
    "max_calls",
    "calls",
    "seen_instruction",
    "attempts",
}
"""Whole numbers that stay below two thousand million."""
READ = text("SELECT held_micros FROM gateway_limits WHERE session = 's'")
WRITE = text("UPDATE gateway_limits SET held_micros = :held WHERE session = 's'")
OWN = text("INSERT INTO gateway_owners (name, owner, session, method, create_time) VALUES (:n, '', '', '', '')")


@pytest.fixture
def engine(tmp_path: Path, databases: Databases) -> Engine:
    engine = databases.open(tmp_path / "control.db")
    create_all_tables(engine)
    with Session(engine) as db, db.begin():
        db.add(LimitRow(session="s"))
    return engine


def run_together(count: int, *works: object) -> None:
    threads = [threading.Thread(target=work) for work in works for _ in range(count)]  # type: ignore[arg-type]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)


def test_who_reads_and_then_writes_loses_nothing(engine: Engine) -> None:
    def add() -> None:
        for _ in range(10):
            with engine.begin() as db:
                held = fetch(db, READ)[0][0]
                change(db, WRITE, {"held": held + 1})

    run_together(8, add)
    with engine.connect() as db:
        assert db.execute(READ).scalar_one() == 80


def test_a_reader_neither_waits_nor_sees_half(engine: Engine) -> None:
    with engine.begin() as writer:
        change(writer, WRITE, {"held": 7})
        with engine.execution_options(readonly=True).connect() as reader:
            assert reader.execute(READ).scalar_one() == 0
            writer.commit()
            assert reader.execute(READ).scalar_one() == 0
    with engine.execution_options(readonly=True).connect() as reader:
        assert reader.execute(READ).scalar_one() == 7


@pytest.mark.parametrize("name", ["\0", "a\0b", "日本\0"])
def test_a_nul_character_is_refused_before_it_is_stored(engine: Engine, name: str) -> None:
    row = {"owner": "", "session": "", "method": "", "create_time": ""}
    with pytest.raises(InvalidArgument, match="NUL"), Session(engine) as db, db.begin():
        db.add(OwnerRow(name=name, **row))
    with pytest.raises(InvalidArgument, match="NUL"), engine.begin() as db:
        db.execute(OWN, [{"n": "fine"}, {"n": name}])
    with pytest.raises(InvalidArgument, match="NUL"), engine.begin() as db:
        change(db, OWN, {"n": name})
    with pytest.raises(InvalidArgument, match="NUL"), Session(engine) as db:
        db.exec(select(OwnerRow).where(OwnerRow.name == name)).all()
    with engine.connect() as db:
        assert db.execute(text("SELECT COUNT(*) FROM gateway_owners")).scalar_one() == 0


def test_texts_and_large_documents_come_back_as_they_were(engine: Engine) -> None:
    words = "naïve 日本語 🙂 \u202e\u0001\x7f'\"\\%s :x \r\n\t"
    large = words * (4 << 20 >> 5)
    row = SessionRow(
        id="s", slot=1, account="a", created_by="", created_user="", instruction=words, status="pending",
        create_time="", update_time="",
    )  # fmt: skip
    with Session(engine) as db, db.begin():
        db.add(row)
        db.flush()
        db.add(PlanRow(session_id="s", plan_hash="h", document=large, markdown="", time=""))
    with Session(engine) as db:
        assert db.get_one(SessionRow, "s").instruction == words
        assert db.get_one(PlanRow, ("s", "h")).document == large


def test_a_million_dollars_fits_into_every_sum(engine: Engine) -> None:
    with engine.begin() as db:
        change(db, WRITE, {"held": 10**12})
        assert fetch(db, READ) == [(10**12,)]


def test_no_whole_number_that_can_grow_is_too_small_on_postgresql() -> None:
    dialect = postgresql.dialect()
    tables = [table for table in SQLModel.metadata.tables.values() if not table.name.startswith("platform_")]
    columns = [column for table in tables for column in table.columns]
    whole = {str(column): column.type.compile(dialect) for column in columns}
    assert list(whole.values()).count("BIGINT") > 20
    short = {name for name, kind in whole.items() if kind in ("INTEGER", "SMALLINT")}
    assert {name for name in short if name.split(".")[1] not in SMALL} == set(), "take sa_type=BigInt"


def test_times_as_text_have_the_order_of_time(engine: Engine) -> None:
    random.seed(4)
    start = datetime(1999, 12, 31, 23, 59, 59, 999_990, tzinfo=UTC)
    sizes = [1, 10, 10**6, 10**9, 10**13]
    steps = [timedelta(microseconds=random.choice(sizes) * random.randrange(99)) for _ in range(300)]
    times = sorted({to_rfc3339(start + step) for step in steps})
    rows = [{"n": time} for time in random.sample(times, len(times))]
    with engine.begin() as db:
        db.execute(OWN, rows)
        found = db.execute(text("SELECT name FROM gateway_owners ORDER BY name")).scalars().all()
        middle = times[len(times) // 2]
        later = db.execute(text("SELECT COUNT(*) FROM gateway_owners WHERE name > :m"), {"m": middle}).scalar_one()
    assert list(found) == times
    assert later == len(times) - len(times) // 2 - 1
