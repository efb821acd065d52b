"""A real job that costs more than was approved: the session waits, more is approved, and it ends deployed.

The platform's record of its speed is far too optimistic, as after a move to a slower disk; so the estimate is too low.
"""

import json
import os
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from cli.up import Instance, free_port
from local_platform.speed.throughput import Throughput, ThroughputBook
from local_platform.workers import MAX_THREADS
from tests.fixtures.system import System

GRACE_SECONDS = 10
FIVE_SECONDS = Decimal("0.20") * 5 / 3600
"""What a trainer may take longer to stop on a crowded machine than the reaper allows for."""
INSTRUCTION = (
    "Run SFT on ember-500k using accounts/local/datasets/tickets with rank 8. Skip HP tuning. Train for 100 epochs. "
    "Use validation loss for evaluation."
)


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """An instance whose plans leave a job only so many seconds more than an estimate that is much too low."""
    folder = tmp_path_factory.mktemp("hasty")
    (folder / "home" / "platform").mkdir(parents=True)
    book = ThroughputBook(folder / "home" / "platform" / "throughput.json", 2, threads())
    fast = Throughput(
        train_tokens_per_second=1e6, eval_tokens_per_second=1e6, generate_tokens_per_second=1000, startup_seconds=3
    )
    for name in ("ember-500k", "ember-1m"):
        book.put(f"accounts/fireworks/models/{name}", fast)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PILOTLIGHT_JOB_GRACE_SECONDS", str(GRACE_SECONDS))
        with Instance(folder / "home", free_port(), free_port()) as instance:
            system = System(instance, folder)
            make = ("-m", "local_platform.basemodels.demo_data", "--rows", "60", "--seed", "7", "--output", "t.jsonl")
            assert system.run(*make).returncode == 0
            system.firectl("dataset", "create", "tickets", "t.jsonl")
            yield system


def threads() -> int:
    """Per job, as the platform counts them with two jobs at a time."""
    return min(MAX_THREADS, max(1, (os.cpu_count() or 1) // 2))


def platform_records(system: System) -> tuple[list[dict[str, Any]], Decimal]:
    """All jobs on the platform, and what they cost by its own record."""
    jobs = json.loads(system.firectl("sftj", "list", "-o", "json"))
    told = [{field: job.get(field) for field in ("name", "state", "estimatedCost")} for job in jobs]
    return told, sum((cost_of(job) for job in jobs), Decimal(0))


def cost_of(job: dict[str, Any]) -> Decimal:
    money = job["estimatedCost"]
    return Decimal(str(money.get("units") or 0)) + Decimal(str(money.get("nanos") or 0)) / 10**9


@pytest.mark.slow
def test_a_job_above_its_grant_waits_for_more_and_ends_deployed(hasty: System) -> None:
    session = hasty.create(INSTRUCTION)
    assert "ask_user plan_approval" in hasty.wait(session)
    first = hasty.get(session)["plan"]
    asked = hasty.answer(session, "Approved, proceed.")
    assert "status_info: ask_user spend_increase" in asked, asked[-3000:]
    assert "ended at its approved cost" in asked
    assert "Cancelled by request" not in asked
    assert "Nothing runs on this until you answer" in asked

    before, (jobs, cost) = hasty.get(session), platform_records(hasty)
    assert [job["state"] for job in jobs] == ["JOB_STATE_CANCELLED"]
    limit = next(grant for grant in first["document"]["grants"] if grant["id"] == "final")
    assert Decimal(limit["maxCost"]) / 2 < cost <= Decimal(limit["maxCost"]) + FIVE_SECONDS
    assert before["plan"]["document"]["cost"]["soFar"] == before["cost"]["soFar"]
    assert abs(Decimal(before["cost"]["soFar"]) - cost) < Decimal("0.000002")
    time.sleep(2)
    assert (hasty.get(session)["cost"], platform_records(hasty)) == (before["cost"], (jobs, cost))

    cheaper = hasty.answer(session, "Train for 2 epochs instead.")
    assert "status_info: ask_user spend_increase" in cheaper, cheaper[-3000:]
    approved = [first, hasty.get(session)["plan"]]
    assert Decimal(approved[1]["highUsd"]) < Decimal(before["plan"]["highUsd"])
    last = hasty.answer(session, "Approved, proceed.")
    while (question := hasty.get(session)["question"]) and len(approved) < 6:
        assert question["kind"] == "spend_increase"  # on a crowded machine a later attempt may need more as well
        approved.append(hasty.get(session)["plan"])
        last = hasty.answer(session, "Approved, proceed.")
    assert last.endswith("[done] session status: succeeded\n"), last[-3000:]

    jobs, cost = platform_records(hasty)
    names = ["-final", *(f"-final-r{number}" for number in range(2, len(approved) + 1))]
    assert sorted(job["name"].split(session)[1] for job in jobs) == names
    done = hasty.get(session)
    assert cost <= Decimal(done["cost"]["soFar"]) + Decimal("0.000002")
    everything = Decimal(done["cost"]["soFar"]) + Decimal(done["cost"]["reserved"])
    assert everything <= sum(Decimal(plan["highUsd"]) for plan in approved)
    assert done["cost"]["ended"][0]["resource"].endswith("-final")
