"""What a classification plan says, offers, grants and cuts; and what its datasets hold when a mitigation is chosen."""

import json
from collections import Counter
from decimal import Decimal
from typing import Any

import pytest

from pilotlight.plan import Phase
from pilotlight.question import Decision, QuestionKind
from tests.unit.runner.classification.conftest import INTENTS, intent_row, label_of

EVALUATION = "accounts/local/datasets/intents-test"


def plan_of(control: Any) -> Any:
    return control.plans[control.ask_open().plan_hash]


def trained_on(control: Any) -> list[dict[str, Any]]:
    name = next(job["dataset"] for job in control.jobs.values())
    return [json.loads(line) for line in control.files[name].splitlines()]


def uneven(control: Any) -> None:
    """90 refunds, 30 logins, 6 deliveries."""
    rows = [intent_row(number) for number in range(400)]
    wanted = {"refund": 90, "login": 30, "delivery": 6}
    kept: list[dict[str, Any]] = []
    for row in rows:
        label = row["messages"][-1]["content"]
        if wanted[label]:
            wanted[label] -= 1
            kept.append(row)
    control.add_dataset(INTENTS, kept)


def test_imbalance_above_the_threshold_is_flagged_with_what_can_be_done(desk: Any, control: Any) -> None:
    uneven(control)
    desk.run()
    plan = plan_of(control)
    assert (plan.classification.ratio, plan.classification.threshold, plan.classification.offers) == (15.0, 50.0, [])
    control.reply("Use an imbalance threshold of 10.", Decision.REVISE, imbalance_threshold=10.0)
    desk.run()
    offers = plan_of(control).classification.offers
    assert [text.split(":")[0] for text in offers] == [
        "rebalance the classes", "use sample weights", "drop the label delivery",
    ]  # fmt: skip


@pytest.mark.parametrize("words", ["Rebalance the classes.", "Use sample weights."])
def test_mitigation_is_really_done_in_the_training_data_only(desk: Any, control: Any, words: str) -> None:
    uneven(control)
    control.instructions = [f"Run classification on {INTENTS} with ember-1m. Skip HP tuning. {words}"]
    desk.run()
    control.reply()
    desk.run()
    rows = trained_on(control)
    counts = Counter(row["messages"][-1]["content"] for row in rows)
    if "Rebalance" in words:
        assert set(counts.values()) == {34}
        assert all("weight" not in row for row in rows)
    else:
        sums = {label: sum(r["weight"] for r in rows if r["messages"][-1]["content"] == label) for label in counts}
        assert max(sums.values()) - min(sums.values()) < 0.1
        assert counts == {"refund": 72, "login": 24, "delivery": 5}
    heldout = next(job["evaluationDataset"] for job in control.jobs.values())
    assert all("weight" not in json.loads(line) for line in control.files[heldout].splitlines())
    assert control.files[heldout].count(b"\n") == 18 + 6 + 1


def test_custom_split_and_separate_evaluation(desk: Any, control: Any) -> None:
    control.instructions = [f"Run classification on {INTENTS} with ember-1m. Use a 70/30 train/test split."]
    desk.run()
    plan = plan_of(control)
    assert (plan.dataset.train_rows, plan.dataset.heldout_rows) == (42, 18)
    assert {(row.train_rows, row.heldout_rows) for row in plan.classification.labels} == {(14, 6)}
    assert "70% / 30% by label and content" in plan.dataset.split


def test_rows_of_the_evaluation_dataset_are_not_trained_on(desk: Any, control: Any) -> None:
    rows = [intent_row(number) for number in range(50, 80)]
    control.add_dataset(EVALUATION, rows)
    control.instructions = [
        f"Run classification fine-tuning on {INTENTS}, eval on {EVALUATION}, using ember-1m. Skip the sweep."
    ]
    desk.run()
    plan = plan_of(control)
    assert (plan.dataset.train_rows, plan.dataset.heldout_rows) == (50, 30)
    assert any(text.startswith("10 training rows that also occur in the evaluation dataset") for text in plan.findings)
    control.reply()
    desk.run()
    asked = {json.dumps(row["messages"][0]) for row in rows}
    assert not asked & {json.dumps(row["messages"][0]) for row in trained_on(control)}


def test_grants_are_the_shown_maximum_and_close_the_requests(desk: Any, control: Any) -> None:
    control.instructions = [f"Run classification on {INTENTS}. Compare ember-1m and ember-500k."]
    desk.run()
    plan = plan_of(control)
    assert sum((grant.max_cost for grant in plan.grants), Decimal(0)) == plan.cost.total("high")
    jobs = [grant for grant in plan.grants if grant.method == "CreateSupervisedFineTuningJob"]
    assert [set(job.rules["body.baseModel"].one_of or []) for job in jobs] == [set(plan.base_models)] * len(jobs)
    measures = [grant for grant in plan.grants if grant.method == "CreateCompletion"]
    assert all(grant.rules["body.max_tokens"].allows(0) for grant in measures)
    assert not any(grant.rules["body.max_tokens"].allows(1) for grant in measures)
    assert {line.phase for line in plan.cost.lines} == {Phase.SWEEP, Phase.DEPLOY}
    assert [line.kind for line in plan.cost.lines if line.phase is Phase.SWEEP] == [
        "inference", "inference", "training", "inference",
    ]  # fmt: skip


def test_budget_is_kept_by_cutting(desk: Any, control: Any) -> None:
    desk.run()
    whole = plan_of(control).cost.total("high")
    control.reply("Budget under $0.30", Decision.REVISE, budget_usd=0.30)
    desk.run()
    plan = plan_of(control)
    assert whole > Decimal("0.30") >= plan.cost.total("high")
    assert plan.cuts


def test_plans_of_other_workflows_keep_their_form(desk: Any, control: Any) -> None:
    control.instructions = [f"Run SFT on {INTENTS} using ember-1m."]
    desk.run()
    plan = plan_of(control)
    assert plan.workflow == "sft"
    assert "classification" not in json.loads(plan.canonical())


def test_no_labels_is_a_question_that_the_user_can_answer(desk: Any, control: Any) -> None:
    rows = [
        {"messages": [row["messages"][0], {"role": "assistant", "content": f"This is what I think of it, at length:\n"
         f"number {at} is about {label_of(row['messages'][0]['content'])}, and that is all."}]}
        for at, row in enumerate(intent_row(number) for number in range(30))
    ]  # fmt: skip
    control.add_dataset(INTENTS, rows)
    desk.run()
    question = control.ask_open()
    assert question.kind is QuestionKind.MISSING_INPUT
    assert "I found no labels" in question.text


def test_rule_in_words(desk: Any, control: Any) -> None:
    rows = [intent_row(number) for number in range(30)]
    for number, row in enumerate(rows):
        tone = ("kind", "angry")[number % 2]
        row["messages"][-1]["content"] = json.dumps({"intent": row["messages"][-1]["content"], "tone": tone})
    control.add_dataset(INTENTS, rows)
    desk.run()
    assert {row.label for row in plan_of(control).classification.labels} == {"refund", "login", "delivery"}
    control.reply("the label is in the JSON field tone", Decision.REVISE, label_rule="json:tone")
    desk.run()
    assert {row.label for row in plan_of(control).classification.labels} == {"kind", "angry"}


def test_a_benchmark_that_meets_its_limit_asks_for_more_and_keeps_what_was_asked(desk: Any, control: Any) -> None:
    control.instructions = [f"Run classification on {INTENTS}. Compare ember-500k and ember-1m. Skip HP tuning."]
    control.lost = {"bench2"}
    desk.run()
    control.reply()
    desk.run()
    question = control.ask_open()
    assert question.kind is QuestionKind.SPEND_INCREASE
    plan = plan_of(control)
    texts = [line.text for line in plan.cost.lines if line.phase is Phase.SWEEP]
    assert [text.split(",")[0] for text in texts] == ["benchmark of ember-1m"]
    asked = len(control.chats)
    control.reply()
    desk.run()
    assert control.finished["status"] == "succeeded", control.finished
    assert any(name.endswith("bench2-r2") for name in control.deployments)
    assert not any("bench1" in body["model"] for body in control.chats[asked:])
