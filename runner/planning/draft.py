"""From what was asked and what the data is, to a plan with its recipe. Pure: everything comes in as arguments."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from pilotlight.errors import FailedPrecondition
from pilotlight.money import show
from pilotlight.plan import CostLine, Phase, Plan, PlanDataset, PlanOffer
from pilotlight.pricebook import PriceBook
from runner.context import TurnContext
from runner.data.sides import Sides
from runner.planning.catalogue import BaseFacts
from runner.planning.choices import FIRST_HOUR, PROMPTS, Choices, cuts
from runner.planning.costing import evaluation_seconds, price
from runner.planning.grid import MAX_PARALLEL, build_grid, default_epochs
from runner.planning.label_facts import LabelFacts
from runner.planning.offers import Offer, list_offers
from runner.planning.pricing import Band, fit_band
from runner.planning.recipe import EvaluatorUse, Recipe
from runner.planning.sheet import Priced
from runner.planning.timing import hours_for
from runner.planning.values import list_values, unread_values

_LEAST_ANSWER_TOKENS, _MOST_ANSWER_TOKENS = 16, 512
SAME_RUN = "the winner was already trained on the whole training side with these very settings"
ONE_SETTING = "there is only one setting, so there is nothing to compare"


@dataclass(frozen=True)
class Inputs:
    """Everything a plan follows from."""

    context: TurnContext
    intent: dict[str, Any]
    source: str
    content_hash: str
    rows: int
    findings: list[str]
    token_method: str
    sides: Sides
    bases: list[BaseFacts]
    """Those that the plan trains, in the order asked for."""
    generation: int
    so_far: Decimal
    expires: datetime
    planner: tuple[CostLine, ...] = ()
    """What the planner's own model has cost."""
    labels: LabelFacts | None = None
    """Of a classification."""
    evaluator: EvaluatorUse | None = None
    """Where answers are scored by one."""


class Draft(NamedTuple):
    """A plan and the recipe its grants were made from."""

    plan: Plan
    recipe: Recipe

    def as_json(self) -> dict[str, Any]:
        """Plain JSON, to be kept until the plan is answered."""
        return {
            "plan": self.plan.model_dump(mode="json", by_alias=True),
            "recipe": self.recipe.model_dump(mode="json"),
        }

    @classmethod
    def from_json(cls, kept: dict[str, Any]) -> "Draft":
        """What as_json() made."""
        return cls(Plan.model_validate(kept["plan"]), Recipe.model_validate(kept["recipe"]))


class Form(NamedTuple):
    """What differs between workflows when a plan is drafted."""

    choose: Callable[[Inputs], Choices]
    resolve: Callable[[Inputs, Choices], Recipe]
    price: Callable[[Recipe, PriceBook, Band, Decimal], Priced]
    fields: Callable[[Inputs, Recipe, str, list[str]], dict[str, Any]]
    """Fields of the plan that the workflow words itself: from inputs, recipe, the band in words, and the cuts."""
    offers: Callable[[dict[str, Any], Choices], list[Offer]] = list_offers
    """What the sweep could be instead."""


def draft_plan(inputs: Inputs) -> Draft:
    """The plan of a supervised fine-tuning. Raises FailedPrecondition when even the smallest is over budget."""
    return draft_with(Form(choose, resolve, price, plan_fields), inputs)


def draft_with(form: Form, inputs: Inputs) -> Draft:
    """Resolve, price and, if need be, cut. Raises FailedPrecondition when even the smallest plan is over budget."""
    budget, band = budget_of(inputs), fit_band(inputs.context.estimate_ratio, inputs.context.grace_seconds)
    smallest = Decimal(0)
    for choices, done in cuts(form.choose(inputs)):
        recipe = form.resolve(inputs, choices)
        priced = form.price(recipe, inputs.context.prices, band, inputs.so_far)
        smallest = inputs.so_far + priced.cost.total("high")
        if budget is None or smallest <= budget:
            fields = form.fields(inputs, recipe, band.text, done)
            fields |= {"cuts": done, "offers": _list_offers(form, inputs, choices, band) if not done else []}
            return Draft(_assemble(inputs, recipe, priced, budget, fields), recipe)
    raise FailedPrecondition(
        f"Even the smallest plan may cost up to {show(smallest)}, more than the budget of {show(budget or smallest)}.",
        hint="Raise the budget, name a smaller base model or a smaller dataset.",
    )


def _list_offers(form: Form, inputs: Inputs, choices: Choices, band: Band) -> list[PlanOffer]:
    """What the sweep could be instead, with its price, as far as the budget allows it."""
    budget, offers = budget_of(inputs), list[PlanOffer]()
    for offer in form.offers(inputs.intent, choices):
        other = replace(inputs, intent=inputs.intent | offer.intent)
        recipe = form.resolve(other, form.choose(other))
        cost = form.price(recipe, inputs.context.prices, band, inputs.so_far).cost
        if not cost.unknown and (budget is None or inputs.so_far + cost.total("high") <= budget):
            amounts = {"expected": cost.total(), "high": cost.total("high"), "seconds": cost.wall_seconds}
            offers.append(PlanOffer.model_validate({"words": offer.words, "text": offer.text} | amounts))
    return offers


def budget_of(inputs: Inputs) -> Decimal | None:
    """The hard cap: the lower one of what the instruction and the session say."""
    said = inputs.intent.get("budget_usd")
    caps = [inputs.context.budget_usd, Decimal(str(said)) if said is not None else None]
    given = [cap for cap in caps if cap is not None]
    return min(given) if given else None


def choose(inputs: Inputs) -> Choices:
    """Grid, epochs, prompts and hours as they would be without a budget."""
    intent, sides = inputs.intent, inputs.sides
    ranks, rates = intent.get("lora_ranks"), intent.get("learning_rates")
    single = bool(intent.get("skip_sweep"))
    epochs = intent.get("epochs")
    kind = intent.get("grid")
    probe = build_grid(inputs.bases, ranks, rates, 1.0, single, kind)
    rows = sides.sample.rows if len(probe.candidates) > 1 else sides.train.rows
    grid = build_grid(inputs.bases, ranks, rates, float(epochs or default_epochs(rows)), single, kind)
    return Choices(
        candidates=tuple(grid.candidates),
        final_epochs=float(epochs or default_epochs(sides.train.rows)),
        prompts=min(PROMPTS, sides.heldout.rows),
        deployment_hours=FIRST_HOUR,
        epochs_set=epochs is not None,
        grid_set=grid.ranks_set or grid.rates_set or bool(kind) or len(inputs.bases) > 1,
    )


def resolve(inputs: Inputs, choices: Choices) -> Recipe:
    """The recipe of these choices."""
    sides, sweep = inputs.sides, choices.sweep
    same = sides.sample.name == sides.train.name and all(c.epochs == choices.final_epochs for c in choices.candidates)
    reason = ""
    if sweep and inputs.intent.get("skip_final_training"):
        reason = "you asked to skip the run on the full data"
    elif sweep and same:
        reason = SAME_RUN
    answer = _answer_tokens(inputs)
    hours = _evaluation_hours(inputs, choices.prompts, answer)
    return Recipe(
        account=inputs.context.account,
        session=inputs.context.session,
        generation=inputs.generation,
        source=inputs.source,
        train=sides.train,
        sample=sides.sample if sweep else sides.train,
        heldout=sides.heldout,
        bases=[base for base in inputs.bases if any(c.base_model == base.name for c in choices.candidates)],
        candidates=list(choices.candidates),
        final_epochs=choices.final_epochs,
        max_parallel=int(inputs.intent.get("max_parallel_jobs") or MAX_PARALLEL),
        sweep=sweep,
        prune=sweep and bool(inputs.intent.get("prune")),
        final=not reason,
        final_reason=reason,
        prompts=choices.prompts,
        answer_tokens=answer,
        evaluation_hours=hours,
        deployment_hours=choices.deployment_hours,
    )


def _answer_tokens(inputs: Inputs) -> int:
    """Room for the longest held-out answer and a quarter more: its length is estimated."""
    scale = max(base.token_scale for base in inputs.bases)
    wanted = math.ceil(inputs.sides.heldout.longest_answer_tokens * scale * 1.25) + _LEAST_ANSWER_TOKENS
    contexts = [base.context_length // 2 for base in inputs.bases if base.context_length]
    return min([max(wanted, _LEAST_ANSWER_TOKENS), _MOST_ANSWER_TOKENS, *contexts])


def _evaluation_hours(inputs: Inputs, prompts: int, longest: int) -> float:
    heldout = inputs.sides.heldout
    times = [evaluation_seconds(base, heldout, prompts, longest) or 0.0 for base in inputs.bases]
    return hours_for(max(times))


def _assemble(inputs: Inputs, recipe: Recipe, priced: Priced, budget: Decimal | None, fields: dict[str, Any]) -> Plan:
    sides, scale = inputs.sides, recipe.bases[0].token_scale
    shared: dict[str, Any] = {
        "session": recipe.session,
        "instruction": inputs.context.instruction,
        "dataset": PlanDataset(
            source=inputs.source,
            content_hash=inputs.content_hash,
            rows=inputs.rows,
            train_rows=sides.train.rows,
            heldout_rows=sides.heldout.rows,
            sweep_rows=recipe.sample.rows,
            train_tokens=round(sides.train.tokens * scale),
            heldout_tokens=round(sides.heldout.tokens * scale),
            sweep_tokens=round(recipe.sample.tokens * scale),
            seed=42,
            eval_dataset=inputs.intent.get("eval_dataset"),
            split=fields.pop("split"),
        ),
        "base_models": [base.name for base in recipe.bases],
        "candidates": recipe.candidates,
        "findings": inputs.findings,
        "budget": budget,
        "cost": priced.cost.model_copy(update={"lines": [*inputs.planner, *priced.cost.lines]}),
        "grants": priced.grants,
        "expires": inputs.expires,
    }
    values = [*fields["values"], *unread_values(inputs.intent)]
    return Plan.model_validate(shared | fields | {"values": values})


def plan_fields(inputs: Inputs, recipe: Recipe, band: str, done: list[str]) -> dict[str, Any]:
    """What a plan of supervised fine-tuning says beside what all plans say."""
    skipped = {} if recipe.sweep else {Phase.SWEEP: no_sweep(inputs.intent, done)}
    return {
        "workflow": "sft",
        "values": list_values(recipe, inputs.intent, inputs.token_method, band),
        "skipped": skipped if recipe.final else skipped | {Phase.TRAIN: recipe.final_reason},
        "split": split_text(inputs),
    }


def no_sweep(intent: dict[str, Any], done: list[str]) -> str:
    """Why one setting is trained only; `done` are the cuts."""
    if intent.get("skip_sweep"):
        return "you asked to skip it"
    return "left out to fit the budget" if any("sweep" in item for item in done) else ONE_SETTING


def split_text(inputs: Inputs) -> str:
    """In words: how the held-out side was made."""
    if inputs.intent.get("eval_dataset"):
        return "your evaluation dataset is the held-out side; nothing is carved out of the training data"
    share = inputs.intent.get("train_fraction")
    percent = f"{(share or 0.8):.0%} / {1 - (share or 0.8):.0%}"
    return f"{percent} by content, seed 42; equal texts stay on one side, and the held-out side is never trained on"
