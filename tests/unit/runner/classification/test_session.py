"""Whole classification sessions through the real graph, against a scripted control process on a real socket."""

import json
from typing import Any

from pilotlight.plan import Phase
from pilotlight.question import Decision, QuestionKind
from tests.unit.runner.classification.conftest import INTENTS, label_of


def ends(control: Any) -> list[tuple[str, str]]:
    return [(event["phase"], event["state"]) for event in control.of("phase") if event["state"] != "started"]


def plan_of(control: Any) -> Any:
    return control.plans[control.ask_open().plan_hash]


def answers_of(desk: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (desk.work / "outputs/evaluation_answers.jsonl").read_text().splitlines()]


def test_from_instruction_to_report(desk: Any, control: Any) -> None:
    desk.run()
    plan = plan_of(control)
    assert (plan.workflow, plan.classification.tunes) == ("classification", "one")
    assert {row.label: row.train_rows + row.heldout_rows for row in plan.classification.labels} == {
        "refund": 20, "delivery": 20, "login": 20,
    }  # fmt: skip
    assert control.applied == []  # nothing is created before approval
    control.reply("Approved, proceed.")
    desk.run()
    question = control.ask_open()
    assert question.kind is QuestionKind.PROMOTION
    assert "c2: ember-1m, rank 16 **(winner)**" in question.text  # all are right: the lowest loss wins the tie
    control.reply("Proceed with the winning config.")
    desk.run()
    assert control.finished["status"] == "succeeded", control.finished
    assert [phase for phase, _ in ends(control)] == [phase.value for phase in Phase]
    report = (desk.work / "final_report.md").read_text()
    assert "accounts/local/models/ft-1779157376-41e1-c2" in report
    assert "accounts/local/deployments/ft-1779157376-41e1-deploy" in report
    every = report.split("**Accuracy per label by choice, every model**")[1].split("\n\n")[1].splitlines()
    assert len(every) == 2 + 3
    assert every[0].count("|") == 2 + 1 + 4  # a base model and three candidates
    assert "| `refund` | 4 | 100.0 % | 100.0 % | 100.0 % | 100.0 % |" in every
    assert "| `login` | 4 | 0.0 % | 100.0 % | 100.0 % | 100.0 % |" in every
    rows = answers_of(desk)
    assert all(set(row["models"]) == {"bench1", "c1", "c2", "c3"} for row in rows)
    assert all(row["models"]["c1"]["choice"] == row["labels"] for row in rows)
    assert all(row["models"]["bench1"] | {"free": []} == row["models"]["bench1"] for row in rows)
    assert len(control.applied) == len(set(control.applied))


def test_new_datasets_hold_labels_and_both_sides_hold_every_label(desk: Any, control: Any) -> None:
    desk.run()
    control.reply()
    desk.run()
    sides = {name: control.files[name] for name in control.files if "/ft-" in name}
    for content in sides.values():
        rows = [json.loads(line) for line in content.splitlines()]
        assert {row["messages"][-1]["content"] for row in rows} == {"refund", "delivery", "login"}
        assert all(row["messages"][-1]["content"] == label_of(row["messages"][0]["content"]) for row in rows)
    train, heldout = ({line for line in content.splitlines()} for content in sides.values())
    assert not train & heldout


def test_benchmark_only_tunes_and_deploys_nothing(desk: Any, control: Any) -> None:
    control.instructions = [
        f"Benchmark ember-1m and ember-500k for classification on {INTENTS}. Just benchmark — don't fine-tune."
    ]
    desk.run()
    plan = plan_of(control)
    assert {grant.method for grant in plan.grants} == {
        "CreateDeployment", "CreateChatCompletion", "CreateCompletion",
    }  # fmt: skip
    assert set(plan.skipped) == {Phase.SWEEP, Phase.TRAIN, Phase.DEPLOY}
    assert {line.kind for line in plan.cost.lines} == {"inference"}
    control.reply()
    desk.run()
    assert control.finished["status"] == "succeeded", control.finished
    assert control.jobs == {}
    assert {name.rsplit("-", 1)[1] for name in control.deployments} == {"bench1", "bench2"}
    assert [phase for phase, state in ends(control) if state == "skipped"] == ["sweep", "train", "deploy"]
    assert "Nothing is deployed: you asked for a benchmark only" in control.finished["message"]


def test_strongest_of_two_bases_is_tuned(desk: Any, control: Any) -> None:
    control.instructions = [f"Run classification on {INTENTS}. Compare ember-500k and ember-1m."]

    def says(model: str, text: str) -> str:
        return label_of(text) if "#" in model or "bench2" in model else "refund"

    control.says = says
    desk.run()
    plan = plan_of(control)
    assert plan.classification.tunes == "strongest"
    assert sum(grant.method == "CreateSupervisedFineTuningJob" for grant in plan.grants) == 3
    control.reply()
    desk.run()
    assert {job["baseModel"] for job in control.jobs.values()} == {"accounts/fireworks/models/ember-1m"}
    assert "No candidate beats the base model" in control.ask_open().text  # bench2 was right in all rows already
    control.reply("stop", Decision.REJECT)
    desk.run()
    assert control.finished["status"] == "cancelled"


def test_a_tie_of_bases_goes_to_the_smaller(desk: Any, control: Any) -> None:
    control.instructions = [f"Run classification on {INTENTS}. Compare ember-1m and ember-500k. Skip HP tuning."]
    desk.run()
    control.reply()
    desk.run()
    assert {job["baseModel"] for job in control.jobs.values()} == {"accounts/fireworks/models/ember-500k"}
    assert control.finished["status"] == "succeeded", control.finished
    assert "a tie with ember-1m" in (desk.work / "final_report.md").read_text()


def test_one_setting_that_gains_nothing_is_not_deployed(desk: Any, control: Any) -> None:
    control.instructions = [f"Run classification on {INTENTS} with ember-1m. Skip HP tuning."]

    def says(model: str, text: str) -> str:
        return "refund"

    control.says = says
    desk.run()
    control.reply()
    desk.run()
    assert control.finished["status"] == "succeeded", control.finished
    assert ("deploy", "skipped") in ends(control)
    assert not any(name.endswith("deploy") for name in control.deployments)
    assert "nothing beats the base model" in control.finished["message"]


def test_several_labels_per_row(desk: Any, control: Any) -> None:
    rows: list[dict[str, Any]] = []
    for number in range(60):
        question = f"order #{number} is the {number * 7919 % 9973}th of {number}"
        truth = [label_of(question)] + (["urgent"] if number % 2 else [])
        rows.append({"messages": [{"role": "user", "content": question}], "ground_truth": truth})
    control.add_dataset(INTENTS, rows)
    both = {str(row["messages"][0]["content"]): ", ".join(sorted(row["ground_truth"])) for row in rows}
    order = ["urgent", "delivery", "login", "refund"]

    def says(model: str, text: str) -> str:
        if "#" not in model:
            return "urgent"
        return ", ".join(sorted(both[text].split(", "), key=order.index))

    control.says = says
    control.instructions = [f"Run classification on {INTENTS} with ember-1m. Skip HP tuning."]
    desk.run()
    plan = plan_of(control)
    assert plan.classification.multi
    assert plan.classification.rule == "the row's ground_truth"
    assert plan.classification.choices == 4 + 3
    control.reply()
    desk.run()
    assert control.finished["status"] == "succeeded", control.finished
    report = (desk.work / "final_report.md").read_text()
    assert "micro F1 100.0 %" in report
    assert all(row["models"]["final"]["free"] == row["labels"] for row in answers_of(desk))


def test_labels_can_be_revised(desk: Any, control: Any) -> None:
    desk.run()
    first = plan_of(control)
    assert not first.classification.given
    control.reply("Labels are: refund, login.", Decision.REVISE, labels=["refund", "login"])
    desk.run()
    plan = plan_of(control)
    assert plan.digest() != first.digest()
    assert (plan.classification.given, [row.label for row in plan.classification.labels]) == (True, ["refund", "login"])
    assert plan.dataset.train_rows + plan.dataset.heldout_rows == 40
    assert any("20 rows with a label that is not among those of this plan" in text for text in plan.findings)
    control.reply("Drop the label login", Decision.REVISE, drop_labels=["login"])
    desk.run()
    assert "at least two labels" in control.ask_open().text


def test_dataset_and_model_are_asked_for(desk: Any, control: Any) -> None:
    control.instructions = ["Run classification fine-tuning. Sweep the base models."]
    desk.run()
    question = control.ask_open()
    assert question.kind is QuestionKind.MISSING_INPUT
    assert [field.name for field in question.fields] == ["train_dataset", "base_models"]
    control.reply(f"{INTENTS} and ember-500k")
    desk.run()
    plan = plan_of(control)
    assert (plan.workflow, plan.base_models) == ("classification", ["accounts/fireworks/models/ember-500k"])
