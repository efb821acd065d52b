"""Whole preference sessions through the real graph, against a scripted control process on a real socket."""

import json
from decimal import Decimal
from typing import Any

from pilotlight.plan import Phase
from pilotlight.question import Decision, QuestionKind
from tests.unit.runner.preference.conftest import PAIRS, rows_of


def ends(control: Any) -> list[tuple[str, str]]:
    return [(event["phase"], event["state"]) for event in control.of("phase") if event["state"] != "started"]


def plan_of(control: Any) -> Any:
    return control.plans[control.ask_open().plan_hash]


def test_from_instruction_to_report(desk: Any, control: Any) -> None:
    desk.run()
    plan = plan_of(control)
    assert (plan.workflow, plan.preference.method, plan.preference.pairs) == ("preference", "DPO", 60)
    assert "sweep itself" not in plan.skipped
    assert plan.skipped.keys() == {Phase.TRAIN}
    assert control.applied == []  # nothing is created before approval
    control.reply("Approved, proceed.")
    desk.run()
    question = control.ask_open()
    assert question.kind is QuestionKind.COMPARISON
    assert "I recommend to deploy" in question.text
    assert not any(name.endswith("deploy") for name in control.deployments)  # the comparison allows it
    control.reply("Deploy it.")
    desk.run()
    assert control.finished["status"] == "succeeded", control.finished
    assert [phase for phase, _ in ends(control)] == [phase.value for phase in Phase]
    assert ("train", "skipped") in ends(control)
    bodies = list(control.jobs.values())
    assert [(job["lossConfig"]["method"], job["lossConfig"]["dpo"]["beta"]) for job in bodies] == [
        ("DPO", 0.1), ("DPO", 0.3), ("DPO", 0.1),
    ]  # fmt: skip
    assert {job["trainingConfig"]["baseModel"] for job in bodies} == {"accounts/fireworks/models/ember-1m"}
    report = (desk.work / "final_report.md").read_text()
    assert "accounts/local/deployments/ft-1779157376-41e1-deploy" in report
    assert "100.0 % (75.8 to 100.0)" in report
    rows = rows_of(desk)
    assert len(rows) == 12
    assert all(set(row["models"]) == {"bench1", "c1", "c2", "c3"} for row in rows)
    for row in rows:
        good, bad = row["preferred"]["content"], row["nonPreferred"]["content"]
        known = row["models"]["c1"]["likelihood"]
        assert (known["preferred_tokens"], known["other_tokens"]) == (len(good) + 1, len(bad) + 1)
        assert abs(known["preferred"] + 0.1 * (len(good) + 1)) < 1e-9
        assert row["models"]["c1"]["answer"].startswith("my own answer")
    assert len(control.applied) == len(set(control.applied))


def test_sides_hold_pairs_and_equal_prompts_stay_together(desk: Any, control: Any) -> None:
    desk.run()
    control.reply()
    desk.run()
    train, heldout = (
        [json.loads(line) for line in control.files[name].splitlines()] for name in control.files if "/ft-" in name
    )
    assert (len(train), len(heldout)) == (48, 12)
    assert all(set(row) == {"input", "preferred_output", "non_preferred_output"} for row in train + heldout)


def test_grants_are_the_shown_maximum_and_the_deployment_waits_for_the_comparison(desk: Any, control: Any) -> None:
    desk.run()
    plan = plan_of(control)
    assert sum((grant.max_cost for grant in plan.grants), Decimal(0)) == plan.cost.total("high")
    gates = {(grant.phase, grant.gate) for grant in plan.grants}
    assert gates == {(Phase.SWEEP, "plan_approval"), (Phase.DEPLOY, "comparison")}


def test_orpo_with_one_setting_trains_once(desk: Any, control: Any) -> None:
    control.instructions = [f"Run ORPO on {PAIRS} using ember-1m with beta 0.2. Skip HP tuning."]
    desk.run()
    plan = plan_of(control)
    assert plan.skipped.keys() == {Phase.SWEEP}
    control.reply()
    desk.run()
    (job,) = control.jobs.values()
    assert job["lossConfig"] == {"method": "ORPO", "klBeta": 0.2}
    assert job["trainingConfig"]["learningRate"] == 1e-4
    assert control.ask_open().kind is QuestionKind.COMPARISON
    control.reply()
    desk.run()
    assert control.finished["status"] == "succeeded", control.finished
    assert all(set(row["models"]) == {"bench1", "final"} for row in rows_of(desk))


def test_without_a_base_model_all_are_tried_and_the_plan_says_so(desk: Any, control: Any) -> None:
    control.instructions = [f"Run preference learning on {PAIRS}."]
    desk.run()
    plan = plan_of(control)
    assert plan.preference.swept_bases
    assert [c.base_model.rsplit("/", 1)[-1] for c in plan.candidates] == ["ember-500k", "ember-1m"]
    control.reply()
    desk.run()
    assert "a tie" not in control.ask_open().text or "the smaller base model" in control.ask_open().text
    control.reply()
    desk.run()
    assert control.finished["status"] == "succeeded", control.finished
    assert {name.rsplit("-", 1)[1] for name in control.deployments} == {"trial1", "trial2", "deploy"}


def test_explicit_grid_is_crossed(desk: Any, control: Any) -> None:
    control.instructions = [f"Run DPO on {PAIRS}. Sweep ember-500k and ember-1m with beta 0.1 and 0.3."]
    desk.run()
    grid = [(c.base_model.rsplit("/", 1)[-1], c.beta) for c in plan_of(control).candidates]
    assert grid == [("ember-500k", 0.1), ("ember-500k", 0.3), ("ember-1m", 0.1), ("ember-1m", 0.3)]


def test_the_sweep_ends_at_the_target(desk: Any, control: Any) -> None:
    control.instructions = [f"Run DPO on {PAIRS} using ember-1m. Stop early once we reach 80% accuracy."]
    desk.run()
    goal = plan_of(control).preference.goal
    assert (goal.metric, goal.op, goal.value, goal.stops, goal.measured) == ("accuracy", ">=", 0.8, True, True)
    control.reply()
    desk.run()
    assert len(control.jobs) == 2  # as many as run at a time
    assert "**met**" in control.ask_open().text
    control.reply()
    desk.run()
    report = (desk.work / "final_report.md").read_text()
    assert "The sweep ended early: c1, c2 reached the target, so c3 was not trained." in report


def test_a_win_rate_that_is_not_reached_ends_nothing(desk: Any, control: Any) -> None:
    control.instructions = [
        f"Run DPO on {PAIRS} using ember-1m. Stop early once we reach 75% win rate against the base."
    ]
    desk.run()
    assert plan_of(control).preference.goal.measured
    control.reply()
    desk.run()
    assert len(control.jobs) == 3
    assert "**not met**" in control.ask_open().text


def test_nothing_beats_the_base_model(desk: Any, control: Any) -> None:
    def unmoved(model: str, answer: str) -> float:
        return -1.0 - (0.5 if answer.startswith("good") else 0.0)

    control.finds = unmoved
    desk.run()
    control.reply()
    desk.run()
    text = control.ask_open().text
    assert "does not prefer as you do more often than its base model" in text
    assert "I recommend not to deploy" in text
    control.reply("Finish without deploying", Decision.REVISE, deploy=False)
    desk.run()
    assert control.finished["status"] == "succeeded", control.finished
    assert ("deploy", "skipped") in ends(control)
    assert not any(name.endswith("deploy") for name in control.deployments)
    assert "Nothing is deployed: you chose to finish without deploying" in control.finished["message"]


def test_another_candidate_can_be_named(desk: Any, control: Any) -> None:
    desk.run()
    control.reply()
    desk.run()
    control.reply("Deploy c3", Decision.REVISE, candidate="c3")
    desk.run()
    assert "You named **c3** instead of" in control.ask_open().text
    control.reply()
    desk.run()
    assert control.deployments["accounts/local/deployments/ft-1779157376-41e1-deploy"]["baseModel"].endswith("-c3")


def test_a_candidate_chosen_with_the_approval_is_deployed_and_reported(desk: Any, control: Any) -> None:
    control.instructions = [f"Run DPO on {PAIRS} using ember-1m with beta 0.1 and 0.3."]
    desk.run()
    control.reply()
    desk.run()
    assert "I recommend to deploy c1" in control.ask_open().text
    control.reply("Deploy it.", candidate="c2")
    desk.run()
    assert control.deployments["accounts/local/deployments/ft-1779157376-41e1-deploy"]["baseModel"].endswith("-c2")
    assert "**c2: ember-1m" in (desk.work / "final_report.md").read_text()


def test_a_sweep_on_a_sample_is_promoted_and_trained_on_everything(desk: Any, control: Any) -> None:
    control.instructions = [f"Run DPO on {PAIRS} using ember-1m. Use 20 samples for HP tuning."]
    desk.run()
    plan = plan_of(control)
    assert plan.dataset.sweep_rows == 20
    assert {grant.gate for grant in plan.grants} == {"plan_approval", "promotion", "comparison"}
    control.reply()
    desk.run()
    assert control.ask_open().kind is QuestionKind.PROMOTION
    control.reply()
    desk.run()
    assert control.ask_open().kind is QuestionKind.COMPARISON
    control.reply()
    desk.run()
    assert control.finished["status"] == "succeeded", control.finished
    assert control.jobs["accounts/local/dpoJobs/ft-1779157376-41e1-final"]["dataset"].endswith("-train")


def test_rows_that_are_no_pairs_are_refused_with_the_reason(desk: Any, control: Any) -> None:
    rows = [
        {"messages": [{"role": "user", "content": f"{n}?"}, {"role": "assistant", "content": "x"}]} for n in range(9)
    ]
    control.add_dataset(PAIRS, rows)
    desk.run()
    assert "preference learning needs two answers to each prompt" in control.ask_open().text


def test_a_replica_that_met_its_limit_is_begun_anew_and_nobody_is_asked_twice(desk: Any, control: Any) -> None:
    control.lost = {"trial1"}
    desk.run()
    control.reply()
    desk.run()
    question = control.ask_open()
    assert question.kind is QuestionKind.SPEND_INCREASE
    plan = plan_of(control)
    assert {line.kind for line in plan.cost.lines if line.phase is Phase.SWEEP} == {"inference"}
    assert {grant.gate for grant in plan.grants} == {"plan_approval", "comparison"}
    control.reply()
    desk.run()
    assert control.ask_open().kind is QuestionKind.COMPARISON
    control.reply()
    desk.run()
    assert control.finished["status"] == "succeeded", control.finished
    assert any(name.endswith("trial1-r2") for name in control.deployments)
