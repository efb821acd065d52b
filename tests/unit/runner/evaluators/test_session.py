"""Evaluators through the whole planner: written, shown, chosen by, reused; scored in real sandboxes."""

import json
from typing import Any

from pilotlight.plan import Phase
from pilotlight.question import QuestionKind
from runner.evaluators.scores import digest_of
from tests.fixtures.planner_control import DATASET

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
    control.instructions = [
        f"Generate an evaluator for {DATASET}, then run SFT on ember-1m and use that evaluator to pick the "
        "winning candidate."
    ]
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
