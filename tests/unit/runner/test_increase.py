"""At an approved limit a session waits with a new preview, and goes on where it stopped. Real graph, real socket."""

from decimal import Decimal
from typing import Any

import pytest

from pilotlight.plan import Phase
from pilotlight.question import Decision, QuestionKind

DATASET = "accounts/local/datasets/tickets"
ONE_RUN = f"Run SFT on {DATASET} using ember-1m with rank 8. Skip HP tuning. Validation loss is fine."
NAME = "accounts/local/{}/ft-1779157376-41e1-{}"


def plan_of(control: Any) -> Any:
    return control.plans[control.ask_open().plan_hash]


def jobs_of(control: Any) -> list[str]:
    return sorted(name.split("41e1-")[1] for name in control.jobs)


def test_a_stopped_candidate_is_asked_for_and_only_it_is_trained_again(desk: Any, control: Any) -> None:
    control.limited = {"c2": 1}
    desk.run()
    control.reply("ok")
    first = plan_before = next(iter(control.plans.values()))
    desk.run()
    question = control.ask_open()
    assert question.kind is QuestionKind.SPEND_INCREASE
    plan = plan_of(control)
    assert plan.increase is not None
    assert plan.increase.previous == first.digest()
    (stop,) = plan.increase.stops
    assert (stop.part, stop.candidate, stop.limit, stop.percent) == ("candidate", "c2", "cost", 33.3)
    assert stop.expected == (Decimal("0.03") / Decimal("0.333")).quantize(Decimal("0.000001"))
    assert plan.cost.so_far == Decimal("0.01")
    sweep = [grant.id for grant in plan.grants if grant.phase is Phase.SWEEP]
    assert sweep == ["c2-r2"] if "c3" in plan.increase.finished else ["c2-r2", "c3"]
    assert plan.cost.total("high") != plan_before.cost.total("high")
    control.reply("Approved, proceed.")
    desk.run()
    assert control.ask_open().kind is QuestionKind.PROMOTION
    assert {"c1", "c2", "c2-r2", "c3"} == set(jobs_of(control))
    control.reply("ok")
    desk.run()
    assert control.finished["status"] == "succeeded", control.finished
    assert control.deployments[NAME.format("deployments", "deploy")]["baseModel"].endswith("-c2-r2")
    assert [event["phase"] for event in control.of("phase") if event["state"] != "started"] == list(Phase)
    assert len(control.applied) == len(set(control.applied))
