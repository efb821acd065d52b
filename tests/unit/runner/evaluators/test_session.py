"""Evaluators through the whole planner: written, shown, chosen by, reused; scored in real sandboxes."""

import json
from typing import Any

from pilotlight.plan import Phase
from pilotlight.question import Decision, QuestionKind
from runner.evaluators.scores import digest_of
from tests.fixtures.planner_control import DATASET, ticket

CHAINED = (
    f"Generate an evaluator for {DATASET}, then run SFT on ember-1m and use that evaluator to pick the winning "
    "candidate."
)

FILES = ("outputs/eval_spec.md", "outputs/evaluator.py")


def said(control: Any) -> str:
    return "\n".join(event["text"] for event in control.of("status_info"))


def test_an_evaluator_alone(desk: Any, control: Any) -> None:
    control.instructions = [f"Generate an evaluator for {DATASET}."]
    desk.run()
    assert control.questions == {}
    assert control.finished is not None
    assert control.finished["status"] == "succeeded"
    spec, source = ((desk.work / path).read_text() for path in FILES)
    assert spec.strip() in said(control)
    assert source.strip() in said(control)
    assert {event["path"] for event in control.of("artifact")} >= set(FILES)
    ended = [event["phase"] for event in control.of("phase") if event["state"] != "started"]
    assert ended == [phase.value for phase in Phase]
    assert control.applied == []


def test_chained_into_a_fine_tuning_and_used_later_again(desk: Any, control: Any) -> None:
    control.confined = False
    control.instructions = [CHAINED]
    desk.run()
    question = control.ask_open()
    assert question.kind is QuestionKind.PLAN_APPROVAL
    source = (desk.work / FILES[1]).read_text()
    plan = control.plans[question.plan_hash]
    values = {value.name: value for value in plan.values}
    assert values["evaluation"].value == "evaluator score"
    assert digest_of(source)[:12] in values["evaluator"].note
    assert control.applied == []
    control.reply("Approved, proceed.")
    desk.run()
    question = control.ask_open()
    assert question.kind is QuestionKind.PROMOTION, question
    assert "evaluator score" in question.text
    assert "100.0 %" in question.text
    control.reply("Proceed with the winning config.")
    desk.run()
    assert control.finished["status"] == "succeeded", control.finished
    rows = [json.loads(line) for line in (desk.work / "outputs/sweep_answers.jsonl").read_text().splitlines()]
    assert all(row["models"]["c1"]["score"] == 1.0 and row["models"]["base1"]["score"] == 0.0 for row in rows)
    report = (desk.work / "final_report.md").read_text()
    assert f"| evaluator score ({len(rows)} prompts) | 0.0 %" in report
    assert control.downloads == 1
    control.instructions.append(
        "Now run SFT on ember-500k using the evaluator we just authored. Reuse outputs/evaluator.py and "
        "outputs/eval_spec.md \N{EM DASH} do not regenerate them."
    )
    control.forget_end()
    runs = len(control.evaluated)
    desk.run()
    assert control.ask_open().kind is QuestionKind.PLAN_APPROVAL
    assert control.downloads == 1
    assert len(control.evaluated) == runs
    assert (desk.work / FILES[1]).read_text() == source


def test_the_evaluator_decides_and_not_the_loss(desk: Any, control: Any) -> None:
    control.instructions, control.confined, control.useless = [CHAINED], False, {"c2", "c3"}
    desk.run()
    control.reply("Approved, proceed.")
    desk.run()
    text = control.ask_open().text
    losses = {key: value["localProgress"]["evalLoss"] for key, value in control.jobs.items()}
    assert min(losses, key=lambda name: losses[name]).endswith("-c2")
    assert "Winner: **c1** (the highest evaluator score, 1.000)" in text, text


def test_a_plan_scores_with_exactly_the_code_it_was_approved_with(desk: Any, control: Any) -> None:
    control.instructions, control.confined = [CHAINED], False
    desk.run()
    (code,) = (desk.work / "state/evaluators").glob("*.py")
    code.write_text("def evaluate(row, completion):\n    return 1.0\n")
    runs = len(control.evaluated)
    control.reply("Approved, proceed.")
    desk.run()
    assert "missing or was changed" in control.ask_open().text
    assert len(control.evaluated) == runs


REUSED = "Now run SFT on ember-500k{} using the evaluator we just authored. Do not regenerate it."


def test_a_changed_file_is_not_used(desk: Any, control: Any) -> None:
    control.instructions, control.confined = [f"Generate an evaluator for {DATASET}."], False
    desk.run()
    (desk.work / FILES[1]).write_text("def evaluate(row, completion):\n    return 1.0\n")
    control.instructions.append(REUSED.format(""))
    control.forget_end()
    desk.run()
    assert "is not what was written and checked" in control.ask_open().text
    control.reply("Generate an evaluator for me.")
    desk.run()
    assert control.ask_open().kind is QuestionKind.PLAN_APPROVAL


def test_reused_on_other_data_it_is_checked_anew(desk: Any, control: Any) -> None:
    control.instructions, control.confined = [f"Generate an evaluator for {DATASET}."], False
    desk.run()
    other = DATASET + "-2"
    rows = [ticket(number) for number in range(60)]
    for number, row in enumerate(rows):
        row["messages"][-1]["content"] = f"Please write to desk {number} of that town, and wait for what they say."
    control.add_dataset(other, rows)
    control.instructions.append(REUSED.format(f" with {other}"))
    control.forget_end()
    desk.run()
    text = control.ask_open().text
    assert "does not fit this dataset" in text, text
    assert "Right answers score 0.00" in text


def test_what_cannot_be_checked_is_asked_and_may_be_left_out(desk: Any, control: Any) -> None:
    wish = "Score how friendly and helpful it sounds."
    control.instructions, control.confined = [f"{CHAINED} {wish}"], False
    desk.run()
    assert "None of the built-in evaluators checks this" in control.ask_open().text
    control.reply("the label")
    desk.run()
    question = control.ask_open()
    assert question.kind is QuestionKind.PLAN_APPROVAL, question.text
    control.reply("validation loss is fine", Decision.REVISE, evaluation="validation_loss")
    desk.run()
    plan = control.plans[control.ask_open().plan_hash]
    assert {value.name: value.value for value in plan.values}["evaluation"] == "validation loss"


def test_validation_loss_instead_of_an_evaluator_that_cannot_be_written(desk: Any, control: Any) -> None:
    control.instructions = [f"{CHAINED} Score how friendly it sounds."]
    desk.run()
    control.reply("validation loss is fine")
    desk.run()
    assert control.ask_open().kind is QuestionKind.PLAN_APPROVAL
    assert control.evaluated == []


def test_a_replica_of_the_sweep_that_met_its_limit_is_asked_for_again(desk: Any, control: Any) -> None:
    control.instructions, control.confined, control.lost = [CHAINED], False, {"trial1"}
    desk.run()
    control.reply("Approved, proceed.")
    desk.run()
    question = control.ask_open()
    assert question.kind is QuestionKind.SPEND_INCREASE, question.text
    plan = control.plans[question.plan_hash]
    assert {"trial1-r2", "ask-trial1-r2"} <= {grant.id for grant in plan.grants}
    assert {value.name: value.value for value in plan.values}["evaluation"] == "evaluator score"
    control.reply("Approved, proceed.")
    desk.run()
    question = control.ask_open()
    assert question.kind is QuestionKind.PROMOTION, question.text


def test_with_one_setting_the_final_model_is_scored_against_its_base_model(desk: Any, control: Any) -> None:
    control.instructions, control.confined = [f"{CHAINED} Skip HP tuning."], False
    desk.run()
    control.reply("Approved, proceed.")
    desk.run()
    assert control.finished is not None, control.ask_open().text
    assert control.finished["status"] == "succeeded"
    rows = [json.loads(line) for line in (desk.work / "outputs/evaluation_answers.jsonl").read_text().splitlines()]
    assert {(row["baseScore"], row["tunedScore"]) for row in rows} == {(0.0, 1.0)}
    assert "| evaluator score (" in (desk.work / "final_report.md").read_text()
