"""The reaper settles what ended and ends what reached its limit."""

import asyncio
import logging
import threading
import time
from decimal import Decimal
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from gateway import Gateway, audit
from gateway.reaper import Reaper

JOB = "accounts/acme/supervisedFineTuningJobs/ft-1"
DEPLOYMENT = "accounts/acme/deployments/dep-1"


def look(bench: Any, times: int = 1) -> None:
    async def use(gateway: Gateway) -> None:
        for _ in range(times):
            await Reaper(gateway).step()

    bench.in_process(use)


def money(dollars: str) -> dict[str, Any]:
    whole, _, part = dollars.partition(".")
    return {"currencyCode": "USD", "units": whole, "nanos": int(part.ljust(9, "0"))}


def test_a_finished_job_settles_to_its_actual_cost(bench: Any, job_grant: Any) -> None:
    bench.approve(job_grant())
    bench.create_job()
    job = bench.platform.resources[JOB]
    job["estimatedCost"] = money("0.012")
    look(bench)
    assert (bench.cost().so_far, bench.cost().reserved) == (Decimal("0.012"), Decimal("0.088"))
    job |= {"state": "JOB_STATE_COMPLETED", "estimatedCost": money("0.034")}
    look(bench, 2)
    cost = bench.cost()
    assert (cost.so_far, cost.reserved, cost.running) == (Decimal("0.034"), Decimal(0), [])
    assert cost.lines[0].actual == Decimal("0.034")


def test_a_job_at_its_limit_is_cancelled_and_the_reason_kept(bench: Any, job_grant: Any) -> None:
    bench.approve(job_grant())
    bench.create_job()
    bench.platform.resources[JOB]["estimatedCost"] = money("0.1")
    look(bench, 2)
    assert f"POST /v1/{JOB}:cancel" in bench.platform.targets()
    assert bench.told[-1].rule == "approved-limit"
    assert bench.told[-1].method == "CancelSupervisedFineTuningJob"
    with bench.engine.connect() as db:
        assert db.execute(text("SELECT state FROM gateway_reservations")).scalar_one() == "settled"
        assert "approved cost" in db.execute(text("SELECT reason FROM gateway_reservations")).scalar_one()
        assert db.execute(text("SELECT COUNT(*) FROM gateway_audit WHERE rule = 'approved-limit'")).scalar_one() == 1
    assert audit.verify(bench.engine).intact


def test_what_was_ended_is_a_fact_with_its_reason(bench: Any, job_grant: Any) -> None:
    bench.approve(job_grant(max_calls=3, max_cost="0.30"))
    for number in (1, 2, 3):
        bench.create_job(number)
    jobs = bench.platform.resources
    jobs[JOB]["estimatedCost"] = money("0.1")
    jobs[JOB.replace("ft-1", "ft-2")] |= {"state": "JOB_STATE_CANCELLED", "estimatedCost": money("0.02")}  # by hand
    jobs[JOB.replace("ft-1", "ft-3")] |= {"state": "JOB_STATE_COMPLETED", "estimatedCost": money("0.12")}
    look(bench)
    (ended,) = bench.cost().ended
    assert (ended.resource, ended.limit, ended.settled) == (JOB, "cost", False)
    jobs[JOB]["estimatedCost"] = money("0.101")
    look(bench)
    (ended,) = bench.cost().ended
    assert ended.reason == "ended at its approved cost, $0.1000"
    assert (ended.approved, ended.spent, ended.settled) == (Decimal("0.1"), Decimal("0.101"), True)
    assert bench.cost("another").ended == []


@pytest.mark.parametrize(("spent", "ends"), [("0.09980", False), ("0.09984", True)])
def test_a_job_is_ended_early_enough_to_save(bench: Any, job_grant: Any, spent: str, ends: bool) -> None:
    """At $0.20 per hour, three seconds cost $0.000167."""
    bench.approve(job_grant())
    bench.create_job()
    bench.platform.resources[JOB]["estimatedCost"] = money(spent)
    look(bench)
    assert (f"POST /v1/{JOB}:cancel" in bench.platform.targets()) is ends


def test_a_job_without_a_reported_cost_is_settled_at_the_worst(bench: Any, job_grant: Any) -> None:
    bench.approve(job_grant())
    bench.create_job()
    bench.platform.resources[JOB]["state"] = "JOB_STATE_FAILED"
    look(bench)
    assert bench.cost().so_far == Decimal("0.10")


def create_deployment(bench: Any, grant: Any) -> None:
    bench.approve(grant)
    assert send_deployment(bench).status_code == 200


def send_deployment(bench: Any) -> httpx.Response:
    body = {
        "baseModel": "accounts/acme/models/out-1",
        "minReplicaCount": 0,
        "maxReplicaCount": 1,
        "autoscalingPolicy": {"scaleToZeroWindow": "300s"},
    }
    return bench.me.post(
        "/v1/accounts/acme/deployments", params={"deploymentId": "dep-1"}, json=body, headers={"idempotency-key": "d"}
    )


def test_a_deployment_costs_its_replica_seconds(bench: Any, deployment_grant: Any) -> None:
    create_deployment(bench, deployment_grant())
    bench.platform.replica_seconds["dep-1"] = 900.0
    look(bench)
    assert bench.cost().so_far == Decimal("0.05")
    del bench.platform.resources[DEPLOYMENT]
    look(bench)
    assert (bench.cost().so_far, bench.cost().reserved) == (Decimal("0.05"), Decimal(0))


def test_a_deployment_is_deleted_at_its_time_limit(bench: Any, deployment_grant: Any) -> None:
    create_deployment(bench, deployment_grant(hours=0.0001, max_cost="0.00002"))
    look(bench, 2)
    assert f"DELETE /v1/{DEPLOYMENT}?ignoreChecks=true" in bench.platform.targets()
    assert bench.cost().running == []
    assert [r.method for r in bench.told if r.rule == "approved-limit"] == ["DeleteDeployment"]
    assert [(ended.resource, ended.limit) for ended in bench.cost().ended] == [(DEPLOYMENT, "time")]


@pytest.mark.parametrize("silent", ["deployments/dep-1", "billingUsage"])
def test_a_time_limit_holds_although_the_platform_does_not_say_how_it_stands(
    bench: Any, deployment_grant: Any, silent: str
) -> None:
    create_deployment(bench, deployment_grant(hours=0.001, max_cost="0.0002"))
    bench.platform.silent_about = silent
    time.sleep(3.2)
    look(bench, 2)
    assert f"DELETE /v1/{DEPLOYMENT}?ignoreChecks=true" in bench.platform.targets()
    assert bench.cost().running != [], "what it has cost is not known yet, so nothing is settled"
    bench.platform.silent_about, bench.platform.replica_seconds = "", {DEPLOYMENT: 3.0}
    look(bench)
    assert (bench.cost().running, bench.cost().so_far) == ([], Decimal("0.000167"))


def test_an_unanswered_create_is_looked_for(bench: Any, job_grant: Any) -> None:
    bench.approve(job_grant(max_calls=2))
    bench.platform.fail_next = 500
    bench.create_job(1)
    bench.platform.fail_next, bench.platform.fail_after = 500, True
    bench.create_job(2)
    look(bench)
    assert bench.cost().reserved == Decimal("0.10")  # too early to say
    with bench.engine.begin() as db:
        db.execute(text("UPDATE gateway_reservations SET create_time = '2026-01-01T00:00:00.000000Z'"))
    look(bench, 2)
    assert (bench.cost().reserved, bench.cost().lines[0].calls) == (Decimal("0.05"), 1)
    assert bench.create_job(1).status_code == 200
    assert bench.create_job(2).status_code == 200
    assert [t.split("=")[-1] for t in bench.platform.targets() if "POST" in t] == ["ft-1", "ft-2", "ft-1", "ft-2"]


def lose_answer(bench: Any) -> None:
    bench.platform.fail_next, bench.platform.fail_after = 500, True


def look_much_later(bench: Any) -> None:
    with bench.engine.begin() as db:
        db.execute(text("UPDATE gateway_reservations SET create_time = '2026-01-01T00:00:00.000000Z'"))
    look(bench, 4)


def test_what_was_settled_before_its_answer_was_asked_for_again_is_not_sent_twice(bench: Any, job_grant: Any) -> None:
    bench.approve(job_grant())
    lose_answer(bench)
    assert bench.create_job().status_code == 500
    bench.platform.resources[JOB] |= {"state": "JOB_STATE_COMPLETED", "estimatedCost": money("0.034")}
    look_much_later(bench)
    again = bench.create_job()
    assert (again.status_code, again.json()["name"]) == (200, JOB)
    assert bench.create_job().json() == again.json()
    assert sum(target.startswith("POST") for target in bench.platform.targets()) == 1
    assert (bench.cost().so_far, bench.cost().reserved) == (Decimal("0.034"), Decimal(0))


def test_what_was_ended_before_its_answer_was_asked_for_again_is_not_made_anew(
    bench: Any, deployment_grant: Any
) -> None:
    """Its reservation is settled: a second deployment would run under no approval at all."""
    bench.approve(deployment_grant(hours=0.0001, max_cost="0.00002"))
    lose_answer(bench)
    assert send_deployment(bench).status_code == 500
    look_much_later(bench)
    assert bench.platform.resources == {}
    again = send_deployment(bench)
    assert (again.status_code, again.json()["error"]["status"]) == (409, "ABORTED")
    assert "not sent again" in again.json()["error"]["message"]
    assert bench.platform.resources == {}


def test_with_nothing_reserved_the_platform_is_left_alone(bench: Any) -> None:
    look(bench, 3)
    assert bench.platform.seen == []


def test_it_runs_until_cancelled_and_wakes_in_time(bench: Any, deployment_grant: Any) -> None:
    create_deployment(bench, deployment_grant(hours=0.0004, max_cost="0.00008"))  # 1.44 s

    async def use(gateway: Gateway) -> None:
        task = asyncio.create_task(Reaper(gateway, interval=60).run())
        for _ in range(60):
            await asyncio.sleep(0.1)
            if DEPLOYMENT not in bench.platform.resources:
                break
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    bench.in_process(use)
    assert DEPLOYMENT not in bench.platform.resources
    assert audit.import_head(bench.settings.home / "audit.head").seq > 0


def test_an_answer_of_another_shape_holds_up_no_other(bench: Any, job_grant: Any) -> None:
    bench.approve(job_grant(max_calls=2, max_cost="0.20"))
    bench.create_job(1)
    bench.create_job(2)
    bench.platform.resources[JOB] = ["no job"]
    bench.platform.resources[JOB.replace("ft-1", "ft-2")] |= {
        "state": "JOB_STATE_COMPLETED",
        "estimatedCost": money("0.01"),
    }
    look(bench)
    cost = bench.cost()
    assert (cost.so_far, cost.reserved) == (Decimal("0.01"), Decimal("0.1"))


def test_calls_that_come_and_go_while_it_writes_do_not_end_it(
    bench: Any, job_grant: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Where another process holds the database's lock, a thread writes down which calls are under way."""
    bench.approve(job_grant())
    bench.create_job()
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with bench.engine.begin() as db:
            db.execute(text("UPDATE gateway_limits SET held_micros = held_micros"))
            held.set()
            done.wait(10)

    async def use(gateway: Gateway) -> None:
        gateway.in_flight.update(range(1_000, 6_000))
        holder = threading.Thread(target=hold)
        holder.start()
        held.wait(10)
        task = asyncio.create_task(Reaper(gateway, interval=0.05).run())
        await asyncio.sleep(0.1)
        done.set()
        for number in range(10_000, 10_500):
            gateway.in_flight.add(number)
            await asyncio.sleep(0.001)
        holder.join()
        bench.platform.resources[JOB] |= {"state": "JOB_STATE_COMPLETED", "estimatedCost": money("0.01")}
        for _ in range(100):
            if bench.cost().so_far == Decimal("0.01"):
                break
            await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    with caplog.at_level(logging.ERROR):
        bench.in_process(use)
    assert bench.cost().so_far == Decimal("0.01")
    assert caplog.records == []
