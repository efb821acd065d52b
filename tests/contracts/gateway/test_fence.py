"""A turn that was stopped or taken over has no effect any more, whatever moment its process was stopped at."""

import time
from decimal import Decimal
from typing import Any

from sqlalchemy import text

from gateway import Gateway, Principal, audit, leader, ledger
from gateway.reaper import Reaper

JOBS = "/v1/accounts/acme/supervisedFineTuningJobs"
HEIR = Principal("session", "acme", session="1779157376-41e1", user="ann", epoch=1)


def reservation(bench: Any) -> Any:
    with bench.engine.connect() as db:
        return db.execute(text("SELECT * FROM gateway_reservations")).mappings().one()


def count(bench: Any, query: str) -> int:
    with bench.engine.connect() as db:
        return db.execute(text(f"SELECT COUNT(*) FROM {query}")).scalar_one()


def test_a_turn_that_is_over_calls_nothing_and_its_successor_does(bench: Any, job_grant: Any) -> None:
    bench.approve(job_grant())
    bench.fence.epoch = HEIR.epoch
    for refused in (bench.me.get("/v1/accounts/acme/datasets"), bench.create_job()):
        assert (refused.status_code, refused.json()["error"]["status"]) == (409, "ABORTED")
        assert refused.json()["error"]["details"][0]["reason"] == "turn.over"
    assert bench.platform.seen == []
    assert bench.told == [], "the session's log is its successor's"
    assert bench.cost().reserved == 0
    assert count(bench, "gateway_effects") == 0
    assert count(bench, "gateway_audit WHERE rule = 'turn.over' AND verdict = 'denied'") == 2
    bench.me = bench.serve(HEIR)
    assert bench.create_job().status_code == 200
    assert bench.cost().reserved == Decimal("0.10")
    assert audit.verify(bench.engine).intact


def test_a_process_that_stood_still_after_its_admission_sends_nothing(bench: Any, job_grant: Any) -> None:
    bench.approve(job_grant())
    bench.fence.script = [lambda: time.sleep(1.2) or True, lambda: False]
    assert bench.create_job().json()["error"]["details"][0]["reason"] == "turn.over"
    assert bench.platform.seen == []
    assert bench.fence.script == []
    bench.me = bench.serve(HEIR)
    assert bench.create_job().status_code == 200, "its successor sends under the same key and reservation"
    assert count(bench, "gateway_reservations") == 1


def test_a_turn_that_was_taken_over_gives_back_nothing_that_its_successor_needs(bench: Any, job_grant: Any) -> None:
    """The successor was faster: the late create is refused as a duplicate, and the job is running."""
    bench.approve(job_grant())
    bench.platform.resources["accounts/acme/supervisedFineTuningJobs/ft-1"] = {}
    bench.fence.script = [lambda: True, lambda: False]
    assert bench.create_job().status_code == 409
    assert bench.fence.script == []
    assert (reservation(bench)["state"], bench.cost().reserved) == ("active", Decimal("0.10"))
    bench.fence.epoch = None
    bench.create_job(number=2, key="another")
    assert count(bench, "gateway_effects WHERE state = 'pending'") == 1


def test_what_exists_after_all_is_held_again(bench: Any, job_grant: Any) -> None:
    """Another process took the call for dead and gave its reservation back; then its answer came."""
    bench.approve(job_grant())
    bench.create_job()
    number = reservation(bench)["id"]
    with bench.engine.begin() as db:
        held = ledger.held_by(db, number)
        assert held is not None
        ledger.release(db, held)
    assert bench.cost().reserved == 0
    with bench.engine.begin() as db:
        ledger.confirm(db, number, JOBS.removeprefix("/v1/") + "/ft-1")
    cost = bench.cost()
    assert (cost.reserved, cost.lines[0].calls, len(cost.running)) == (Decimal("0.10"), 1, 1)


def test_of_several_gateways_one_looks_until_it_resigns_or_is_gone(bench: Any) -> None:
    with bench.engine.begin() as db:
        assert leader.lead(db, "a", 60)
        assert leader.lead(db, "a", 60)
        assert not leader.lead(db, "b", 60)
        leader.resign(db, "b")
        assert not leader.lead(db, "b", 60)
        leader.resign(db, "a")
        assert leader.lead(db, "b", 0.2)
        assert not leader.lead(db, "a", 60)
    time.sleep(0.3)
    with bench.engine.begin() as db:
        assert leader.lead(db, "a", 60), "the one before gave no more sign of life"


def test_a_call_that_is_under_way_in_another_process_is_not_concluded(bench: Any, job_grant: Any) -> None:
    bench.approve(job_grant())
    bench.platform.fail_next = 500
    bench.create_job()
    number, old = reservation(bench)["id"], {"old": "2026-01-01T00:00:00.000000Z"}
    with bench.engine.begin() as db:
        db.execute(text("UPDATE gateway_reservations SET create_time = :old"), old)
        ledger.touch(db, [number])
    look(bench)
    assert reservation(bench)["state"] == "active"
    with bench.engine.begin() as db:
        db.execute(text("UPDATE gateway_reservations SET touch_time = :old"), old)
    look(bench)
    assert reservation(bench)["state"] == "released"


def look(bench: Any) -> None:
    async def use(gateway: Gateway) -> None:
        await Reaper(gateway).step()

    bench.in_process(use)
