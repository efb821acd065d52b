"""Racing processes cannot reserve more than was approved, killed ones included."""

import json
import multiprocessing
import os
import time
from decimal import Decimal
from pathlib import Path

import pytest
from sqlmodel import Session, text

from gateway import grants, ledger
from gateway.tables import create_tables
from gateway.uncovered import Uncovered
from manifest.decide import decide
from manifest.facts import Call, Caller, RequestFacts
from pilotlight.database import open_engine
from pilotlight.plan import GrantSpec, Phase, Plan, Rule
from pilotlight.pricebook import load_prices
from tests.fixtures.databases import Databases
from tests.fixtures.plans import plan_of

CALLS = 96
MICROS = 1000
BODY = {"dataset": "accounts/acme/datasets/d1", "baseModel": "accounts/fireworks/models/ember-500k", "epochs": 1}


def plan() -> Plan:
    total = Decimal(CALLS * MICROS) / 1_000_000
    rules = {f"body.{key}": Rule.exactly(value) for key, value in BODY.items()}
    spec = GrantSpec(
        id="c1", gate="plan_approval", method="CreateSupervisedFineTuningJob", rules=rules, max_calls=CALLS,
        max_cost=total, phase=Phase.SWEEP, text="jobs",
    )  # fmt: skip
    return plan_of([spec], "s1")


def job() -> Call:
    raw = json.dumps(BODY).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(raw)).encode())]
    facts = RequestFacts("POST", b"/v1/accounts/acme/supervisedFineTuningJobs", b"", headers, raw)
    call = decide(facts, Caller("acme", "ann", session="s1")).call
    assert call is not None
    return call


def spend(url: str, start: float) -> None:
    """Reserve until refused. Runs in a process of its own."""
    engine, call, prices = open_engine(url), job(), load_prices("local")
    time.sleep(max(0.0, start - time.time()))
    while True:
        try:
            with engine.begin() as db:
                ledger.reserve(db, "s1", "acme", call, "job", "", prices)
        except Uncovered as uncovered:
            os._exit(0 if uncovered.rule in ("spend.exhausted", "spend.limit") else 1)


@pytest.mark.parametrize(("limit", "kill"), [(None, 2), ("0.05", 0)])
def test_sixteen_writers_never_overspend(tmp_path: Path, databases: Databases, limit: str | None, kill: int) -> None:
    url, engine = databases.url(tmp_path / "control.db"), databases.open(tmp_path / "control.db")
    create_tables(engine)
    with Session(engine) as db, db.begin():
        grants.write(db, "s1", plan(), "plan_approval", "ann")
        grants.set_limit(db, "s1", None if limit is None else Decimal(limit))
    engine.dispose()
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=spend, args=(url, time.time() + 0.5)) for _ in range(16)]
    for worker in workers:
        worker.start()
    time.sleep(0.7 if kill else 0)
    for worker in workers[:kill]:
        worker.kill()  # on a quick machine it may have ended by now
    for worker in workers:
        worker.join(120)
    assert [worker.exitcode for worker in workers[kill:]] == [0] * (16 - kill)
    expected = 50 if limit else CALLS
    with engine.connect() as db:
        rows, total = db.execute(text("SELECT COUNT(*), SUM(amount_micros) FROM gateway_reservations")).one()
        calls, reserved = db.execute(text("SELECT calls, reserved_micros FROM gateway_grants")).one()
        held = db.execute(text("SELECT held_micros FROM gateway_limits")).scalar_one()
    assert (rows, calls) == (expected, expected)
    assert total == reserved == held == expected * MICROS
