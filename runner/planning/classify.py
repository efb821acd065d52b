"""The plan of a classification: benchmark, the same grid and final run as for SFT, and everything measured by label."""

from dataclasses import replace
from typing import Any

from pilotlight.plan import Phase, PlanValue
from pilotlight.tasks import Classification, LabelRows
from runner.planning.choices import SHORTEST_HOURS, Choices
from runner.planning.draft import Draft, Form, Inputs, choose, draft_with, resolve
from runner.planning.label_costing import measuring_seconds, price_labels
from runner.planning.label_facts import LabelFacts
from runner.planning.recipe import LabelTask, Recipe
from runner.planning.timing import hours_for
from runner.planning.values import list_label_values

HELDOUT_ROWS = 200
"""Rows that every model is asked, at most."""
BENCHMARK_ONLY = "you asked for a benchmark only"


def draft_classification(inputs: Inputs) -> Draft:
    """Resolve, price and, if need be, cut. Raises FailedPrecondition when even the smallest plan is over budget."""
    return draft_with(Form(_choose, _resolve, price_labels, _fields), inputs)


def facts_of(inputs: Inputs) -> LabelFacts:
    """The labels; every classification has them."""
    if inputs.labels is None:
        raise ValueError("a classification was drafted without labels")
    return inputs.labels


def _choose(inputs: Inputs) -> Choices:
    intent = inputs.intent
    usual = choose(replace(inputs, bases=inputs.bases[:1]))
    rows = min(HELDOUT_ROWS, inputs.sides.heldout.rows)
    if intent.get("benchmark_only"):
        none = replace(usual, candidates=(), epochs_set=True, grid_set=True, deployment_hours=SHORTEST_HOURS)
        return replace(none, prompts=rows)
    return replace(usual, prompts=rows)


def _resolve(inputs: Inputs, choices: Choices) -> Recipe:
    facts, recipe = facts_of(inputs), resolve(inputs, choices)
    times = [
        measuring_seconds(base, recipe.heldout, recipe.prompts, len(facts.choices), recipe.answer_tokens) or 0.0
        for base in inputs.bases
    ]
    only = bool(inputs.intent.get("benchmark_only"))
    task = LabelTask(
        labels=facts.labels,
        multi=facts.multi,
        choices=facts.choices,
        trial_hours=hours_for(max(times) * max(1, len(choices.candidates))),
        benchmark_only=only,
        strongest="" if len(inputs.bases) > 1 or only else inputs.bases[0].name,
    )
    more: dict[str, Any] = {"final": False, "final_reason": BENCHMARK_ONLY} if only else {}
    hours = hours_for(max(times))
    return recipe.model_copy(
        update={
            "workflow": "classification",
            "task": task,
            "bases": inputs.bases,
            "evaluation_hours": hours,
            **more,
        }
    )


def _fields(inputs: Inputs, recipe: Recipe, band: str, done: list[str]) -> dict[str, Any]:
    facts = facts_of(inputs)
    return {
        "workflow": "classification",
        "values": _values(inputs, recipe, band),
        "skipped": _skipped(recipe),
        "split": _split_text(inputs, facts),
        "classification": Classification(
            labels=[
                LabelRows(label=label, train_rows=facts.train[label], heldout_rows=facts.heldout[label])
                for label in facts.labels
            ],
            given=facts.given,
            multi=facts.multi,
            rule=facts.rule,
            labelled_rows=facts.labelled_rows,
            ratio=round(facts.ratio, 4),
            threshold=facts.threshold,
            mitigation=facts.mitigation,
            offers=_offers(facts),
            choices=len(facts.choices),
            tunes="none" if recipe.labels.benchmark_only else "strongest" if len(recipe.bases) > 1 else "one",
        ),
    }


def _values(inputs: Inputs, recipe: Recipe, band: str) -> list[PlanValue]:
    return list_label_values(recipe, inputs.intent, inputs.token_method, band)


def _skipped(recipe: Recipe) -> dict[Phase, str]:
    if recipe.labels.benchmark_only:
        return dict.fromkeys((Phase.SWEEP, Phase.TRAIN, Phase.DEPLOY), BENCHMARK_ONLY)
    return {} if recipe.final else {Phase.TRAIN: recipe.final_reason}


def _offers(facts: LabelFacts) -> list[str]:
    if not facts.imbalanced:
        return []
    rare = min((label for label in facts.labels if facts.counts[label]), key=lambda label: facts.counts[label])
    offers = [
        "rebalance the classes: in the training data each label gets about the same number of rows, the frequent ones "
        "thinned out, the rare ones repeated",
        "use sample weights: all rows stay, and those of rare labels count more",
        f"drop the label {rare}: its rows are left out on both sides",
    ]
    chosen = {"rebalance": 0, "weights": 1}.get(facts.mitigation)
    return [offer for place, offer in enumerate(offers) if place != chosen]


def _split_text(inputs: Inputs, facts: LabelFacts) -> str:
    if inputs.intent.get("eval_dataset"):
        return "your evaluation dataset is the held-out side; nothing is carved out of the training data"
    share = inputs.intent.get("train_fraction") or 0.8
    both = "every label with two or more different texts is on both sides"
    if facts.multi:
        both = "rows are dealt out by their rarest label, so that it is on both sides where it has two different texts"
    return (
        f"{share:.0%} / {1 - share:.0%} by label and content, seed 42; rows that ask the same stay on one side, "
        f"{both}, and the held-out side is never trained on"
    )
