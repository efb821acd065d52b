"""At an approved limit a session waits with a new preview, and goes on where it stopped. Real graph, real socket."""

from decimal import Decimal
from typing import Any

import pytest

from pilotlight.errors import PermissionDenied
from pilotlight.plan import Phase, Plan
from pilotlight.question import Decision, QuestionKind

DATASET = "accounts/local/datasets/tickets"
ONE_RUN = f"Run SFT on {DATASET} using ember-1m with rank 8. Skip HP tuning. Validation loss is fine."
TWO_STEPS = f"Run SFT on {DATASET} using ember-1m. Use 20 samples for HP tuning. Validation loss is fine."
NAME = "accounts/local/{}/ft-1779157376-41e1-{}"


def plan_of(control: Any) -> Any:
    return control.plans[control.ask_open().plan_hash]


def text_of(control: Any, desk: Any) -> str:
    """The preview as the control process renders it from the typed plan."""
    return (desk.work / "plan.md").read_text()


def jobs_of(control: Any) -> set[str]:
    return {name.split("41e1-")[1] for name in control.jobs}


def stop_sweep(desk: Any, control: Any, at_a_time: int = 6) -> Any:
    """A session that waits because its second candidate of three met its limit; the plan that it asks for."""
    control.instructions = [f"{control.instructions[0]} Run at most {at_a_time} jobs in parallel."]
    control.limited = {"c2": 1}
    desk.run()
    control.reply("ok")
    desk.run()
    assert control.ask_open().kind is QuestionKind.SPEND_INCREASE
    return plan_of(control)


def finish(desk: Any, control: Any) -> None:
    for _ in range(4):
        if not control.finished:
            control.reply("Approved, proceed.")
            desk.run()
    assert control.finished["status"] == "succeeded", control.finished


def test_only_what_was_stopped_is_asked_for_and_trained_again(desk: Any, control: Any) -> None:
    plan = stop_sweep(desk, control)
    first = next(iter(control.plans.values()))
    assert plan.increase.previous == first.digest()
    (stop,) = plan.increase.stops
    assert (stop.part, stop.candidate, stop.limit, stop.percent) == ("candidate", "c2", "cost", 33.3)
    assert stop.expected == (Decimal("0.03") / Decimal("0.333")).quantize(Decimal("0.000001"))
    assert plan.increase.finished == ["c1", "c3"]
    assert [grant.id for grant in plan.grants if grant.phase is Phase.SWEEP] == ["c2-r2"]
    assert plan.cost.so_far == Decimal("0.01")
    shown = text_of(control, desk)
    assert "Candidate **c2** was ended at its approved cost: it had cost $0.0300 of $0.0300, at 33 %" in shown
    assert "all of it costs about $0.0901: $0.0601 more" in shown
    assert "Nothing runs on this until you answer" in shown
    assert "Spent in this session so far: **$0.0100**" in shown
    finish(desk, control)
    assert jobs_of(control) == {"c1", "c2", "c2-r2", "c3"}
    assert control.deployments[NAME.format("deployments", "deploy")]["baseModel"].endswith("-c2-r2")
    assert [event["phase"] for event in control.of("phase") if event["state"] != "started"] == list(Phase)
    assert len(control.applied) == len(set(control.applied))


def test_no_job_is_begun_after_one_met_its_limit(desk: Any, control: Any) -> None:
    plan = stop_sweep(desk, control, at_a_time=1)
    assert jobs_of(control) == {"c1", "c2"}
    assert plan.increase.finished == ["c1"]
    assert [grant.id for grant in plan.grants if grant.phase is Phase.SWEEP] == ["c2-r2", "c3"]
    finish(desk, control)
    assert jobs_of(control) == {"c1", "c2", "c2-r2", "c3"}


def test_the_rest_is_priced_by_the_measured_speed(desk: Any, control: Any) -> None:
    plan = stop_sweep(desk, control)
    first = next(iter(control.plans.values()))
    per_run = next(line.expected for line in first.cost.lines if line.phase is Phase.SWEEP) / 3
    again = next(line.expected for line in plan.cost.lines if line.phase is Phase.SWEEP)
    assert abs(again - plan.increase.stops[0].expected) < Decimal("0.0001")
    assert again > 10 * per_run
    deployments = [line.seconds for line in plan.cost.lines if line.phase is Phase.DEPLOY]
    assert deployments == [line.seconds for line in first.cost.lines if line.phase is Phase.DEPLOY]


def test_nothing_happens_between_question_and_answer(desk: Any, control: Any) -> None:
    stop_sweep(desk, control)
    before = (list(control.applied), dict(control.jobs), control.ask_open())
    for _ in range(2):
        desk.run()
        assert (control.applied, control.jobs, control.ask_open()) == before


def test_the_message_is_the_gateways_not_the_platforms(desk: Any, control: Any) -> None:
    stop_sweep(desk, control)
    ended = [event for event in control.of("job") if event["state"] == "JOB_STATE_CANCELLED"]
    assert [event["reason"] for event in ended] == ["ended at its approved cost, $0.03"]
    assert "Cancelled by request" not in str(control.events)


def test_a_job_cancelled_by_hand_is_trouble_not_an_increase(desk: Any, control: Any) -> None:
    control.instructions = [ONE_RUN]
    control.limited = {"final": 2}
    control.tells_ended = False
    desk.run()
    control.reply("ok")
    desk.run()
    question = control.ask_open()
    assert question.kind is QuestionKind.MISSING_INPUT
    assert "It was stopped by hand" in question.text


def test_the_final_run(desk: Any, control: Any) -> None:
    control.instructions = [ONE_RUN]
    control.limited = {"final": 2}
    desk.run()
    control.reply("ok")
    desk.run()
    plan = plan_of(control)
    assert [(stop.part, stop.percent) for stop in plan.increase.stops] == [("final", 66.6)]
    assert {grant.gate for grant in plan.grants} == {"plan_approval"}
    assert "The run on the full training side was ended" in text_of(control, desk)
    finish(desk, control)
    assert jobs_of(control) == {"final", "final-r2"}
    assert control.deployments[NAME.format("deployments", "deploy")]["baseModel"].endswith("-final-r2")


def test_again_and_again(desk: Any, control: Any) -> None:
    control.instructions = [ONE_RUN]
    control.limited = {"final": 0, "final-r2": 2}
    desk.run()
    for _ in range(2):
        control.reply("ok")
        desk.run()
        assert control.ask_open().kind is QuestionKind.SPEND_INCREASE
    first, second = (plan for plan in control.plans.values() if plan.increase)
    assert first.increase.stops[0].percent is None
    assert first.increase.stops[0].expected == Decimal("0.06")  # taken for half done
    assert second.increase.previous == first.digest()
    finish(desk, control)
    assert jobs_of(control) == {"final", "final-r2", "final-r3"}


def test_the_evaluation_deployment_gets_more_time(desk: Any, control: Any) -> None:
    control.instructions = [ONE_RUN]
    control.lost = {"eval"}
    desk.run()
    control.reply("ok")
    desk.run()
    plan = plan_of(control)
    first = next(iter(control.plans.values()))
    hours = {grant.id: grant.max_hours for grant in (*first.grants, *plan.grants) if grant.phase is Phase.EVALUATE}
    assert hours["eval-r2"] == 2 * (hours["eval"] or 0)
    assert [grant.phase for grant in plan.grants if grant.phase in (Phase.SWEEP, Phase.TRAIN)] == []
    assert "ended at its approved time limit" in text_of(control, desk)
    finish(desk, control)
    assert jobs_of(control) == {"final"}
    assert NAME.format("deployments", "eval-r2") in control.deployments


def test_the_final_deployment(desk: Any, control: Any) -> None:
    control.instructions = [ONE_RUN]
    control.lost = {"deploy"}
    desk.run()
    control.reply("ok")
    desk.run()
    assert {grant.id for grant in plan_of(control).grants} == {"deploy-r2", "ask-deployed-r2"}
    asked = len(control.chats)
    finish(desk, control)
    assert len(control.chats) == asked + 1  # the evaluation is not repeated
    assert f"{NAME.format('deployments', 'deploy-r2')}" in control.finished["message"]


@pytest.mark.parametrize(
    ("rule", "limit"), [("spend.exhausted", "calls"), ("spend.expired", "expired"), ("spend.limit", "session")]
)
def test_a_refused_call_is_asked_for_under_the_same_name(desk: Any, control: Any, rule: str, limit: str) -> None:
    control.instructions = [ONE_RUN]
    control.refusing = {"CreateSupervisedFineTuningJob": rule}
    desk.run()
    control.reply("ok")
    desk.run()
    plan = plan_of(control)
    assert [(stop.part, stop.limit, stop.resource) for stop in plan.increase.stops] == [("final", limit, "")]
    control.refusing = {}
    finish(desk, control)
    assert jobs_of(control) == {"final"}


def test_any_other_refusal_is_an_error(desk: Any, control: Any) -> None:
    control.instructions = [ONE_RUN]
    control.refusing = {"CreateSupervisedFineTuningJob": "spend.rules"}
    desk.run()
    control.reply("ok")
    with pytest.raises(PermissionDenied, match="refused"):
        desk.run()


def test_rejecting_ends_it_without_more(desk: Any, control: Any) -> None:
    stop_sweep(desk, control)
    applied = list(control.applied)
    control.reply("reject", Decision.REJECT)
    desk.run()
    assert control.finished["status"] == "cancelled"
    assert control.applied == applied


def test_skipping_the_rest_of_the_sweep_keeps_what_is_finished(desk: Any, control: Any) -> None:
    stop_sweep(desk, control)
    control.reply("skip the rest of the sweep", Decision.REVISE, skip_sweep=True)
    desk.run()
    plan = plan_of(control)
    assert [grant for grant in plan.grants if grant.phase is Phase.SWEEP] == []
    assert plan.increase.previous == next(iter(control.plans))
    finish(desk, control)
    assert jobs_of(control) == {"c1", "c2", "c3"}
    assert control.deployments[NAME.format("deployments", "deploy")]["baseModel"].endswith(("-c1", "-c3"))


def test_fewer_epochs_are_for_what_is_left_only(desk: Any, control: Any) -> None:
    dearer = stop_sweep(desk, control)
    control.reply("train for 1 epoch", Decision.REVISE, epochs=1)
    desk.run()
    plan = plan_of(control)
    assert {candidate.id: candidate.epochs for candidate in plan.candidates}["c2"] == 1
    assert {candidate.id: candidate.epochs for candidate in plan.candidates}["c1"] == 5
    assert plan.cost.total() < dearer.cost.total()
    finish(desk, control)
    assert control.jobs[NAME.format("supervisedFineTuningJobs", "c2-r2")]["epochs"] == 1


def test_the_final_run_can_be_left_out(desk: Any, control: Any) -> None:
    control.instructions = [TWO_STEPS]
    control.limited = {"final": 1}
    for _ in range(3):
        desk.run()
        if control.ask_open().kind is not QuestionKind.SPEND_INCREASE:
            control.reply("ok")
    control.reply("skip the final training", Decision.REVISE, skip_final_training=True)
    desk.run()
    assert [grant for grant in plan_of(control).grants if grant.phase is Phase.TRAIN] == []
    finish(desk, control)
    assert control.deployments[NAME.format("deployments", "deploy")]["baseModel"].endswith("-c2")


def test_another_rank_is_a_plan_of_its_own(desk: Any, control: Any) -> None:
    stop_sweep(desk, control)
    control.reply("use rank 4 only", Decision.REVISE, lora_ranks=[4])
    desk.run()
    assert control.ask_open().kind is QuestionKind.PLAN_APPROVAL
    assert plan_of(control).increase is None
    finish(desk, control)
    assert jobs_of(control) == {"c1", "c2", "c3", "g2-final"}


def test_a_reply_without_a_change_asks_again(desk: Any, control: Any) -> None:
    first = stop_sweep(desk, control)
    control.reply("make it cheaper", Decision.REVISE)
    desk.run()
    assert "I did not find a change" in control.of("status_info")[-1]["text"]
    assert control.ask_open().kind is QuestionKind.SPEND_INCREASE
    assert plan_of(control).increase == first.increase


def over_budget(desk: Any, control: Any, budget: str) -> None:
    """A session whose final run met its limit, with a budget that the rest does not fit."""
    control.instructions = [f"{TWO_STEPS} Budget: under ${budget}."]
    control.limited = {"final": 1}
    for _ in range(2):
        desk.run()
        control.reply("ok")
    control.so_far = budget
    desk.run()


def test_an_increase_over_the_budget_asks_for_a_higher_one(desk: Any, control: Any) -> None:
    over_budget(desk, control, "0.60")
    question = control.ask_open()
    assert question.kind is QuestionKind.MISSING_INPUT
    assert "does not fit the budget" in question.text
    assert "No smaller form of it fits" in question.text
    control.reply("hm")
    desk.run()
    assert control.ask_open().kind is QuestionKind.MISSING_INPUT
    control.reply("raise the budget to $5")
    desk.run()
    plan = plan_of(control)
    assert plan.budget == 5
    assert plan.cost.so_far + sum(grant.max_cost for grant in plan.grants) <= 5
    finish(desk, control)
    assert "final-r2" in jobs_of(control)


def test_an_increase_over_the_budget_can_be_declined(desk: Any, control: Any) -> None:
    over_budget(desk, control, "0.60")
    applied = list(control.applied)
    control.reply("Stop.")
    desk.run()
    assert control.finished["status"] == "cancelled"
    assert control.applied == applied


def test_an_increase_is_cut_to_fit_the_budget_and_says_so(desk: Any, control: Any) -> None:
    control.instructions = [f"{ONE_RUN} Budget: under $0.60."]
    control.limited = {"final": 1}
    desk.run()
    control.reply("ok")
    control.so_far = "0.30"
    desk.run()
    plan = plan_of(control)
    assert plan.cuts
    assert plan.cost.so_far + sum(grant.max_cost for grant in plan.grants) <= Decimal("0.60")
    assert "Cut to fit your budget" in text_of(control, desk)


def test_what_is_reserved_counts_against_the_budget(desk: Any, control: Any) -> None:
    document = stop_sweep(desk, control).model_dump(mode="json")
    granted = sum(Decimal(grant["max_cost"]) for grant in document["grants"])
    document["budget"] = str(granted + Decimal(document["cost"]["so_far"]))
    assert Plan.model_validate(document).budget == granted + Decimal("0.01")
    document["increase"]["held"] = "0.000001"
    with pytest.raises(ValueError, match="more than the budget"):
        Plan.model_validate(document)


def test_a_plan_without_an_increase_keeps_the_hash_it_had_before_there_were_any(desk: Any, control: Any) -> None:
    desk.run()
    plan = plan_of(control)
    assert '"increase"' not in plan.canonical()
    assert Plan.model_validate_json(plan.canonical()).digest() == plan.digest()
