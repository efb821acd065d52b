"""The limits of keys hold in the ledger, whoever races: sessions of one key share its month, and nothing is lost."""

import multiprocessing
import os
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlmodel import Session, text

from gateway import bounds, grants, ledger
from gateway.rules import Uncovered
from gateway.tables import create_tables
from pilotlight.clock import parse_rfc3339
from pilotlight.database import open_engine
from pilotlight.errors import FailedPrecondition, ResourceExhausted
from pilotlight.identity import Principal, Role, open_month
from pilotlight.identity import create_tables as create_identity_tables
from pilotlight.identity.spend import month_id, used_micros
from pilotlight.plan import Gate, GrantSpec, Phase, Plan, Rule
from pilotlight.pricebook import load_prices
from tests.fixtures.calls import BODY, job
from tests.fixtures.databases import Databases
from tests.fixtures.plans import plan_of

CENT = 10_000


def key(month: int | None = None, session: int | None = None, name: str = "k1") -> Principal:
    return Principal("acme", "ann", Role.USER, None, False, name, "ann@acme", month, session)


def spec(calls: int = 50, cents: int = 50, name: str = "c1", gate: Gate = "plan_approval") -> GrantSpec:
    """Each call costs one cent."""
    rules = {f"body.{key}": Rule.exactly(value) for key, value in BODY.items()}
    return GrantSpec(
        id=name, gate=gate, method="CreateSupervisedFineTuningJob", rules=rules, max_calls=calls,
        max_cost=Decimal(cents) / 100, phase=Phase.SWEEP, text="jobs",
    )  # fmt: skip


@pytest.fixture
def engine(tmp_path: Path, databases: Databases) -> Engine:
    engine = databases.open(tmp_path / "control.db")
    create_tables(engine)
    create_identity_tables(engine)
    return engine


def start(engine: Engine, session: str, caller: Principal, *specs: GrantSpec, limit: str | None = None) -> Plan:
    """A session of this key, with an approved plan."""
    plan = plan_of(list(specs) or [spec()], session)
    with Session(engine) as db, db.begin():
        asked = None if limit is None else Decimal(limit)
        bounds.open_account(db, session, asked, caller.session_limit_micros, open_month(db, caller))
        grants.write(db, session, plan, "plan_approval", "ann@acme")
    return plan


def reserve(engine: Engine, session: str) -> int:
    """One call of one cent; returns its reservation."""
    with engine.begin() as db:
        held = ledger.reserve(db, session, "acme", job(session), "job", "", load_prices("local"))
    assert held.reservation is not None
    return held.reservation


def spend(engine: Engine, session: str) -> str:
    """Reserve until refused; the rule that refused."""
    while True:
        try:
            reserve(engine, session)
        except Uncovered as uncovered:
            return uncovered.rule


def held(engine: Engine, caller: Principal) -> int:
    with Session(engine) as db:
        return used_micros(db, [caller.key_id]).get(caller.key_id, 0)


def test_the_month_bounds_all_sessions_of_a_key_and_no_others(engine: Engine) -> None:
    mine, other = key(month=60 * CENT), key(name="k2")
    for session in ("s1", "s2"):
        start(engine, session, mine)
    start(engine, "s3", other)
    assert spend(engine, "s1") == "spend.exhausted"
    assert spend(engine, "s2") == "spend.key-month"
    assert spend(engine, "s3") == "spend.exhausted"
    assert (held(engine, mine), held(engine, other)) == (60 * CENT, 50 * CENT)


def test_the_session_limit_bounds_each_session(engine: Engine) -> None:
    mine = key(session=20 * CENT)
    for session in ("s1", "s2"):
        start(engine, session, mine, spec(20, 20))
        with engine.begin() as db:
            db.execute(text("UPDATE gateway_grants SET max_cost_micros = 500000, max_calls = 50"))
        assert spend(engine, session) == "spend.key-session"
    assert held(engine, mine) == 40 * CENT


def test_the_smaller_of_both_session_limits_counts_and_is_named(engine: Engine) -> None:
    start(engine, "s1", key(session=20 * CENT), spec(20, 10), limit="0.10")
    with engine.begin() as db:
        db.execute(text("UPDATE gateway_grants SET max_cost_micros = 200000"))
    assert spend(engine, "s1") == "spend.limit"


def test_what_costs_less_or_never_happened_gives_the_month_back(engine: Engine) -> None:
    mine = key(month=50 * CENT)
    start(engine, "s1", mine)
    first, second = reserve(engine, "s1"), reserve(engine, "s1")
    assert held(engine, mine) == 2 * CENT
    with engine.begin() as db:
        ledger.settle(db, first, CENT // 2)
        found = ledger.held_by(db, second)
        assert found is not None
        ledger.release(db, found)
        ledger.release(db, found)
    assert held(engine, mine) == CENT // 2


@pytest.mark.parametrize(
    ("caller", "limit", "rule"),
    [
        (key(month=49 * CENT), None, "spend.key-month"),
        (key(session=49 * CENT), None, "spend.key-session"),
        (key(), "0.49", "spend.limit"),
    ],
)
def test_a_plan_above_a_limit_is_not_granted(engine: Engine, caller: Principal, limit: str | None, rule: str) -> None:
    with pytest.raises((ResourceExhausted, FailedPrecondition)) as refused:
        start(engine, "s1", caller, limit=limit)
    assert refused.value.details[0]["reason"] == rule
    assert rule in refused.value.message
    assert refused.value.hint
    with engine.connect() as db:
        assert db.execute(text("SELECT COUNT(*) FROM gateway_grants")).scalar_one() == 0


def test_months_are_those_of_utc_and_stay_with_the_session(engine: Engine) -> None:
    assert month_id("k1", parse_rfc3339("2026-12-01T00:30:00+02:00")) == "k1/2026-11"
    assert month_id("k1", parse_rfc3339("2026-12-01T00:00:00Z")) == "k1/2026-12"
    mine = key(month=50 * CENT)
    start(engine, "s1", mine)
    with engine.begin() as db:  # the month in which the session was created is over
        db.execute(text("UPDATE identity_key_month SET id = 'k1/2020-01'"))
        db.execute(text("UPDATE gateway_limits SET key_month = 'k1/2020-01'"))
    start(engine, "s2", mine)
    assert spend(engine, "s1") == spend(engine, "s2") == "spend.exhausted"
    with engine.connect() as db:
        rows = db.execute(text("SELECT held_micros FROM identity_key_month")).scalars().all()
    assert rows == [50 * CENT, 50 * CENT]


def race(engine: Engine, works: list[Callable[[Engine], None]]) -> None:
    """Run all at once, each in a process with an engine of its own."""
    url, begin = engine.url.render_as_string(hide_password=False), time.time() + 0.5
    engine.dispose()

    def run(work: Callable[[Engine], None]) -> None:
        own = open_engine(url)
        time.sleep(max(0.0, begin - time.time()))
        work(own)
        os._exit(0)

    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=run, args=(work,)) for work in works]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert [worker.exitcode for worker in workers] == [0] * len(works)


@pytest.mark.parametrize(("month", "session", "total"), [(60, None, 60), (30, 9, 30)])
def test_sixteen_writers_stop_exactly_at_the_limit(
    engine: Engine, month: int | None, session: int | None, total: int
) -> None:
    mine = key(month and month * CENT, session and session * CENT)
    for number in range(4):
        start(engine, f"s{number}", mine, spec(9, 9))
    with engine.begin() as db:  # any one of the grants alone would allow more
        db.execute(text("UPDATE gateway_grants SET max_cost_micros = 1000000, max_calls = 100"))

    def work(number: int) -> Callable[[Engine], None]:
        def run(own: Engine) -> None:
            assert spend(own, f"s{number % 4}").startswith("spend.key-")

        return run

    race(engine, [work(number) for number in range(16)])
    assert held(engine, mine) == total * CENT
    with engine.connect() as db:
        rows, amount = db.execute(text("SELECT COUNT(*), SUM(amount_micros) FROM gateway_reservations")).one()
        most, sums = db.execute(text("SELECT MAX(held_micros), SUM(held_micros) FROM gateway_limits")).one()
    assert (rows, amount, sums) == (total, total * CENT, total * CENT)
    assert most <= (session or 60) * CENT


def test_a_ceiling_holds_while_others_spend(engine: Engine) -> None:
    """Eight processes spend what was approved, eight approve new plans by record: together never above the ceiling."""
    plan, ceiling = start(engine, "s1", key(), spec(20, 20)), 30 * CENT
    assert plan.session == "s1"

    def approve(number: int) -> Callable[[Engine], None]:
        def run(own: Engine) -> None:
            for turn in range(4):
                with Session(own) as db, db.begin():
                    new = plan_of([spec(8, 8)], "s1", note=f"{number}/{turn}")
                    try:
                        grants.write(db, "s1", new, "plan_approval", "auto", ceiling=ceiling)
                    except ResourceExhausted:
                        db.rollback()
                        return
                _one(own)

        return run

    race(engine, [*(approve(number) for number in range(8)), *[_some] * 8])
    with engine.connect() as db:
        unused = text(
            "SELECT COALESCE(SUM(max_cost_micros - reserved_micros - settled_micros), 0) FROM gateway_grants"
            " WHERE revoke_time IS NULL"
        )
        left = db.execute(unused).scalar_one()
        used = db.execute(text("SELECT held_micros FROM gateway_limits")).scalar_one()
    assert 20 * CENT <= used + left <= ceiling


def _one(engine: Engine) -> None:
    try:
        reserve(engine, "s1")
    except Uncovered:
        return


def _some(engine: Engine) -> None:
    for _ in range(8):
        _one(engine)
