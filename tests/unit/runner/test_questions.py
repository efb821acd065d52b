"""Questions, whenever they come: answered from the platform's and the ledger's state; nothing is planned for them."""

import json
from typing import Any

import pytest

from pilotlight.question import QuestionKind
from prompts import show_seconds


def said(control: Any) -> str:
    return "\n".join(event["text"] for event in control.of("status_info"))


ANSWERED = [
    ("Which base models do you support for SFT?", ["`ember-500k`", "`ember-1m`", "1,050,000"]),
    ("Is ember-1m supported?", ["`ember-1m`"]),
    ("What datasets do I have?", ["`accounts/local/datasets/tickets`", "| 60 |"]),
    ("List my jobs.", ["`ft-old`", "`JOB_STATE_FAILED`", "$0.25", "`dpo-old`"]),
    ("Which deployments are running?", ["`accounts/local/deployments/mine`", "| `READY` | 1 | 2 |"]),
    ("Show me my tuned models", ["no tuned model"]),
    ("How much has this cost so far?", ["$0.0100 so far", "$0.2000 per hour", "no plan yet"]),
    ("List my evaluators", ["no registered evaluator"]),
    ("Who is the president?", ["I have no answer to `Who is the president?`"]),
]


@pytest.mark.parametrize(("text", "found"), ANSWERED)
def test_an_instruction_that_asks_is_answered_from_real_state(
    desk: Any, control: Any, text: str, found: list[str]
) -> None:
    job = {"baseModel": "accounts/fireworks/models/ember-1m", "state": "JOB_STATE_FAILED"}
    cost = {"estimatedCost": {"units": "0", "nanos": 250_000_000}}
    for kind, identifier in (("supervisedFineTuningJobs", "ft-old"), ("dpoJobs", "dpo-old")):
        name = f"accounts/local/{kind}/{identifier}"
        control.jobs[name] = {"name": name, **job, **cost}
    mine = {"name": "accounts/local/deployments/mine", "state": "READY", "replicaCount": 1, "maxReplicaCount": 2}
    control.deployments[mine["name"]] = mine
    control.instructions = [text]
    desk.run()
    assert control.finished["status"] == "succeeded"
    for words in found:
        assert words in said(control)
    assert (control.plans, control.questions, control.applied) == ({}, {}, [])


def test_a_question_at_the_plan_is_answered_and_the_plan_stays(desk: Any, control: Any) -> None:
    desk.run()
    before = control.ask_open()
    control.instructions.append("How long will it take, and which base models are there?")
    desk.run()
    assert control.ask_open() == before
    (plan,) = control.plans.values()
    assert f"to take about {show_seconds(plan.cost.wall_seconds)}" in said(control)
    assert "`ember-500k`" in said(control)


def test_what_another_base_model_would_cost_is_told(desk: Any, control: Any) -> None:
    desk.run()
    control.instructions.append("What would ember-500k cost?")
    desk.run()
    (plan,) = control.plans.values()
    row = next(line for line in said(control).splitlines() if line.startswith("| `ember-500k` | $"))
    assert f"{plan.cost.total():.4f} (" in row  # the scripted platform is as fast with both


def test_a_follow_up_keeps_what_was_said_and_forgets_what_belongs_to_other_data(desk: Any, control: Any) -> None:
    first = control.instructions[0]
    control.instructions = [f"{first} Use accounts/local/datasets/held as the eval dataset. Train for 2 epochs."]
    control.add_dataset("accounts/local/datasets/held", [json.loads(row) for row in rows_of(control)[:6]])
    control.add_dataset("accounts/local/datasets/more", [json.loads(row) for row in rows_of(control)])
    desk.run()
    assert next(iter(control.plans.values())).dataset.eval_dataset == "accounts/local/datasets/held"
    control.instructions.append("Which base models do you support?")
    control.instructions.append("Now run SFT on accounts/local/datasets/more.")
    desk.run()
    plan = list(control.plans.values())[-1]
    assert (plan.dataset.source, plan.dataset.eval_dataset) == ("accounts/local/datasets/more", None)
    assert {candidate.epochs for candidate in plan.candidates} == {2.0}
    assert plan.base_models == ["accounts/fireworks/models/ember-1m"]
    assert "Base models that can be fine-tuned" in said(control)
    assert control.questions[list(control.questions)[-1]].kind is QuestionKind.PLAN_APPROVAL


def rows_of(control: Any) -> list[str]:
    return control.files["accounts/local/datasets/tickets"].decode().splitlines()
