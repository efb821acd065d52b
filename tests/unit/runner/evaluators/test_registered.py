"""Evaluators of the account in a session, and the session that registers one; scored in real sandboxes."""

from typing import Any

from pilotlight.plan import Phase
from pilotlight.question import QuestionKind
from pilotlight.sources import pack, unpack
from tests.fixtures.planner_control import DATASET

NAME = "accounts/local/evaluators/exact"
EXACT = "def evaluate(model_output, ground_truth):\n    return float(model_output == ground_truth)\n"
USE = f"Run SFT on ember-1m using {DATASET}. Use evaluator {NAME}."


def register(control: Any, source: str = EXACT, requirements: str = "", state: str = "ACTIVE") -> None:
    files = {"main.py": source, "requirements.txt": requirements}
    control.registered[NAME] = {"name": NAME, "state": state, "displayName": "Exact", "archive": pack(files)}


def test_a_plan_scores_by_an_evaluator_of_the_account(desk: Any, control: Any) -> None:
    register(control)
    control.instructions = [USE]
    desk.run()
    question = control.ask_open()
    assert question.kind is QuestionKind.PLAN_APPROVAL, question.text
    values = {value.name: value for value in control.plans[question.plan_hash].values}
    assert values["evaluator"].value == f"Exact ({NAME})"
    assert EXACT in (desk.work / "outputs/registered_evaluator.txt").read_text()
    control.reply("Approved, proceed.")
    desk.run()
    question = control.ask_open()
    assert question.kind is QuestionKind.PROMOTION, question
    assert "100.0 %" in question.text


def test_packages_are_named_in_the_plan_and_tried_after_its_approval(desk: Any, control: Any) -> None:
    register(control, "import nothere\n" + EXACT, "rapidfuzz==3.14.1")
    control.instructions = [USE]
    desk.run()
    question = control.ask_open()
    assert control.plans[question.plan_hash].packages == ["rapidfuzz==3.14.1"]
    assert control.evaluated == []
    control.reply("Approved, proceed.")
    desk.run()
    assert "the evaluator cannot be used" in control.ask_open().text
    assert "nothere" in control.ask_open().text
    assert control.jobs == {}


def test_what_cannot_be_used_is_said(desk: Any, control: Any) -> None:
    for number, (how, reason) in enumerate(
        [
            ({"state": "BUILD_FAILED"}, "is BUILD_FAILED, not ACTIVE"),
            ({"source": "def evaluate(a, b):\n    return 1.0\n"}, "scores everything alike: 1"),
            ({"source": "def evaluate(a, b):\n    raise ValueError('no')\n"}, "fails on every row"),
            ({"requirements": "numpy>=2"}, "version is not pinned"),
        ]
    ):
        register(control, **how)
        if number:
            control.reply(f"Use evaluator {NAME}.")
        else:
            control.instructions = [USE]
        desk.run()
        assert reason in control.ask_open().text.replace("\\", "")
    assert control.jobs == {}


def test_an_evaluator_for_reinforcement_is_validated_and_registered_after_approval(desk: Any, control: Any) -> None:
    control.instructions = [f"Build an RFT evaluator for {DATASET}. Score whether the answer matches ground truth."]
    desk.run()
    question = control.ask_open()
    assert question.kind is QuestionKind.PLAN_APPROVAL, question.text
    plan = control.plans[question.plan_hash]
    assert plan.registration is not None
    checks = [(check.answers, check.mean) for check in plan.registration.checks]
    assert checks[0] == ("right answers", 1.0)
    assert checks[1][1] < 1.0
    assert plan.cost.total("high") == 0
    assert any("have no ground_truth" in finding for finding in plan.findings)
    assert control.registered == {}
    control.reply("Approved, proceed.")
    desk.run()
    assert control.finished["status"] == "succeeded", control.finished
    (made,) = control.registered.values()
    file = (desk.work / "outputs/test_evaluator.py").read_text()
    assert unpack(made["archive"]) == {"test_evaluator.py": file}
    assert made["requirements"] == "eval-protocol==0.3.33"
    command = f"firectl rftj create --base-model accounts/fireworks/models/qwen3-8b --evaluator {made['name']}"
    assert f"{command} --dataset {DATASET}" in control.finished["message"]
    ended = [event["phase"] for event in control.of("phase") if event["state"] != "started"]
    assert ended == [phase.value for phase in Phase]
    assert control.jobs == {}


def test_a_file_changed_after_approval_is_not_registered(desk: Any, control: Any) -> None:
    control.instructions = [f"Build an RFT evaluator for {DATASET}. Score whether the answer matches ground truth."]
    desk.run()
    control.reply("Approved, proceed.")
    (desk.work / "outputs/test_evaluator.py").write_text("import os")
    desk.run()
    assert control.finished["status"] == "failed"
    assert "is not the file that was approved" in control.finished["message"]
    assert control.registered == {}
