"""A new plan for the rest of an approved one that met a limit: priced by the speed that was measured. Pure."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import ROUND_CEILING, Decimal
from typing import Any, NamedTuple

from pilotlight.errors import FailedPrecondition
from pilotlight.money import show, usd
from pilotlight.plan import Candidate, Increase, Phase, Plan, PlanValue, Stop
from pilotlight.pricebook import PriceBook
from runner.context import TurnContext
from runner.planning import pair_requests
from runner.planning.choices import FEWEST_PROMPTS, SHORTEST_HOURS
from runner.planning.costing import Rest, candidate_seconds, final_seconds
from runner.planning.draft import Draft
from runner.planning.label_requests import measuring_steps
from runner.planning.pricing import Band, fit_band, price_seconds
from runner.planning.recipe import Recipe
from runner.planning.scored_requests import scoring_steps
from runner.planning.sheet import Priced

ENOUGH_PERCENT = 10.0
"""From here on, what a run cost so far tells what all of it costs."""
_MEASURED_LOW, _MEASURED_HIGH = 0.7, 2.0
WITHOUT_FINAL = "you chose to go on with the winner as it is"


@dataclass(frozen=True)
class Stopped:
    """Everything the new plan follows from."""

    context: TurnContext
    intent: dict[str, Any]
    plan: Plan
    """The session's plan: the approved one, or an increase that the user wants to be changed."""
    previous: str
    """Hash of the approved plan that met a limit."""
    recipe: Recipe
    phase: Phase
    stops: list[Stop]
    finished: list[str]
    """IDs of the candidates that are trained already."""
    winner: str
    token_method: str
    spent: Decimal
    held: Decimal
    expires: datetime
    price: Callable[[Recipe, PriceBook, Band, Decimal, Rest], Priced]
    """The workflow's own."""
    values: Callable[[Recipe, dict[str, Any], str, str], list[PlanValue]]
    asked: frozenset[str] = frozenset()
    """Labels of the models whose answers are kept."""
    pruned: frozenset[str] = frozenset()
    """IDs of the candidates that successive halving stopped: they are not trained again."""


class _Choice(NamedTuple):
    recipe: Recipe
    cuts: list[str]


def draft_increase(stopped: Stopped) -> Draft:
    """Price the rest. Raises FailedPrecondition, with what is missing, when no form of it fits the budget."""
    budget, cheapest = _budget(stopped), None
    recipe, stops = _measure(stopped)
    for choice in _choices(stopped, recipe):
        rest = _rest(stopped, choice.recipe)
        band = _band(stopped)
        priced = stopped.price(choice.recipe, stopped.context.prices, band, stopped.spent, rest)
        most = stopped.spent + stopped.held + priced.granted()
        if budget is None or most <= budget:
            increase = Increase(
                previous=stopped.previous,
                phase=stopped.phase,
                stops=stops,
                finished=stopped.finished if rest.candidates else [],
                held=stopped.held,
            )
            changes: dict[str, Any] = {
                "candidates": choice.recipe.candidates,
                "values": stopped.values(choice.recipe, stopped.intent, stopped.token_method, band.text),
                "skipped": _skipped(stopped, choice.recipe),
                "cuts": choice.cuts,
                "budget": budget,
                "cost": priced.cost,
                "grants": priced.grants,
                "expires": stopped.expires,
                "increase": increase,
            }
            return Draft(Plan.model_validate(dict(stopped.plan) | changes), choice.recipe)
        cheapest = most
    missing = (cheapest or Decimal(0)).quantize(Decimal("0.01"), ROUND_CEILING)
    raise FailedPrecondition(
        f"What is left needs a budget of up to {show(missing)} in all, and the budget is {show(budget or missing)}."
    )


def _budget(stopped: Stopped) -> Decimal | None:
    """As for any plan: the lower one of what the words and the session say."""
    said = stopped.intent.get("budget_usd")
    caps = [stopped.context.budget_usd, Decimal(str(said)) if said is not None else None]
    return min((cap for cap in caps if cap is not None), default=None)


def _measure(stopped: Stopped) -> tuple[Recipe, list[Stop]]:
    """The recipe with new names for what was ended and the measured speed, and the stops with what each will cost."""
    recipe, slower, stops = stopped.recipe, dict[str, float](), list[Stop]()
    for stop in stopped.stops:
        if stop.part in ("candidate", "final"):
            stop = _expect(stopped, stop, slower)
        if stop.part == "evaluation" and stop.resource and stop.limit != "failed":
            recipe = _longer(recipe)
        if stop.resource:
            recipe = recipe.again(*_steps_of(stop, recipe))
        stops.append(stop)
    slowness = recipe.slowness | {base: recipe.slowness.get(base, 1.0) * factor for base, factor in slower.items()}
    return recipe.model_copy(update={"slowness": slowness}), stops


def _expect(stopped: Stopped, stop: Stop, slower: dict[str, float]) -> Stop:
    """The stop with its expected cost; `slower` learns by which factor its base model was underestimated."""
    candidate = stopped.recipe.candidate(stop.candidate or stopped.winner)
    seconds = (candidate_seconds if stop.part == "candidate" else final_seconds)(stopped.recipe, candidate)
    planned = price_seconds(stopped.context.prices, seconds, Band(1.0, 1.0, "")).expected
    if not stop.resource or not planned or stop.limit == "failed":
        return stop
    # Without progress nothing was measured; what was approved is taken for half of it.
    used = stop.spent if stop.percent is not None else max(stop.spent, stop.approved)
    share = max(stop.percent if stop.percent is not None else 50.0, 1.0) / 100
    expected = usd(used / Decimal(str(share)))
    slower[candidate.base_model] = max(slower.get(candidate.base_model, 1.0), float(expected / planned))
    return stop.model_copy(update={"expected": expected})


def _longer(recipe: Recipe) -> Recipe:
    task = recipe.task and recipe.task.model_copy(update={"trial_hours": 2 * recipe.task.trial_hours})
    used = recipe.evaluator and recipe.evaluator.model_copy(update={"trial_hours": 2 * recipe.evaluator.trial_hours})
    pairs = recipe.pairs and recipe.pairs.longer()
    longer = {"evaluation_hours": 2 * recipe.evaluation_hours, "task": task, "evaluator": used, "pairs": pairs}
    return recipe.model_copy(update=longer)


def _steps_of(stop: Stop, recipe: Recipe) -> tuple[str, ...]:
    if stop.part == "candidate":
        return (stop.candidate,)
    if stop.part == "evaluation" and recipe.task is not None:
        return measuring_steps(recipe, stop.resource)
    if stop.part == "evaluation" and recipe.pairs is not None:
        return pair_requests.measuring_steps(recipe, stop.resource)
    if stop.part == "evaluation" and recipe.evaluator is not None:
        return scoring_steps(recipe, stop.resource)
    return {"final": ("final",), "evaluation": ("eval", "load", "ask"), "deployment": ("deploy", "ask-deployed")}[
        stop.part
    ]


def _band(stopped: Stopped) -> Band:
    usual = fit_band(stopped.context.estimate_ratio, stopped.context.grace_seconds)
    measured = [stop.percent for stop in stopped.stops if stop.percent is not None]
    if not measured or min(measured) < ENOUGH_PERCENT:
        return usual
    text = f"measured on what was stopped: {_MEASURED_LOW:g} to {_MEASURED_HIGH:g} times the estimate"
    return Band(_MEASURED_LOW, _MEASURED_HIGH, text, usual.grace)


def _rest(stopped: Stopped, recipe: Recipe) -> Rest:
    """What is still to do, from the phase that stopped on."""
    if stopped.phase is Phase.SWEEP:
        kept = {*stopped.finished, *stopped.pruned}
        left = [candidate for candidate in recipe.candidates if candidate.id not in kept]
        gate = "promotion" if recipe.sweep else "plan_approval"
        return Rest(left if recipe.sweep else [], recipe.candidates, recipe.final, True, gate, asked=stopped.asked)
    training = recipe.final and stopped.phase is Phase.TRAIN
    options = [recipe.candidate(stopped.winner)] if stopped.winner else []
    comparing = bool(recipe.task and recipe.task.benchmark_only)
    asking = stopped.phase is not Phase.DEPLOY
    return Rest([], options, training, asking, "plan_approval", comparing, stopped.asked)


def _choices(stopped: Stopped, recipe: Recipe) -> Iterator[_Choice]:
    """The rest as it was asked for, then ever less of it, what the user set excepted [GAP 16]."""
    recipe = _as_asked(stopped, recipe)
    cuts: list[str] = []
    yield _Choice(recipe, cuts)
    if recipe.deployment_hours > SHORTEST_HOURS:
        recipe = recipe.model_copy(update={"deployment_hours": SHORTEST_HOURS})
        cuts = [f"the deployment is approved for {SHORTEST_HOURS:g} hours only"]
        yield _Choice(recipe, cuts)
    if recipe.prompts > FEWEST_PROMPTS and stopped.phase is not Phase.DEPLOY:
        cuts = [*cuts, f"the task metrics use {FEWEST_PROMPTS} held-out prompts instead of {recipe.prompts}"]
        recipe = recipe.model_copy(update={"prompts": FEWEST_PROMPTS})
        yield _Choice(recipe, cuts)
    if stopped.intent.get("epochs") is None:
        yield from _fewer_epochs(stopped, recipe, cuts)


def _fewer_epochs(stopped: Stopped, recipe: Recipe, cuts: list[str]) -> Iterator[_Choice]:
    epochs = recipe.final_epochs if stopped.phase is Phase.TRAIN else max(c.epochs for c in recipe.candidates)
    if stopped.phase not in (Phase.SWEEP, Phase.TRAIN):
        return
    while epochs > 1:
        epochs = max(1.0, epochs - 1)
        text = f"what is still to be trained is trained for {epochs:g} epochs"
        yield _Choice(_with_epochs(stopped, recipe, epochs), [*cuts, text])


def _as_asked(stopped: Stopped, recipe: Recipe) -> Recipe:
    """What the user said since: fewer epochs, no more of the sweep, no final run."""
    intent = stopped.intent
    if intent.get("skip_sweep") and stopped.phase is Phase.SWEEP and stopped.finished:
        kept = [candidate for candidate in recipe.candidates if candidate.id in stopped.finished]
        recipe = recipe.model_copy(update={"candidates": kept})
    if intent.get("skip_final_training") and recipe.sweep and stopped.phase in (Phase.SWEEP, Phase.TRAIN):
        recipe = recipe.model_copy(update={"final": False, "final_reason": recipe.final_reason or WITHOUT_FINAL})
    return recipe if intent.get("epochs") is None else _with_epochs(stopped, recipe, float(intent["epochs"]))


def _with_epochs(stopped: Stopped, recipe: Recipe, epochs: float) -> Recipe:
    """The recipe with at most so many epochs for what is still to be trained."""

    def shorter(candidate: Candidate) -> Candidate:
        kept = stopped.phase is not Phase.SWEEP or candidate.id in stopped.finished
        return candidate if kept else candidate.model_copy(update={"epochs": epochs})

    trains = stopped.phase in (Phase.SWEEP, Phase.TRAIN)
    candidates = [shorter(candidate) for candidate in recipe.candidates]
    return recipe.model_copy(
        update={"candidates": candidates, "final_epochs": epochs if trains else recipe.final_epochs}
    )


def _skipped(stopped: Stopped, recipe: Recipe) -> dict[Phase, str]:
    more = {} if recipe.final else {Phase.TRAIN: recipe.final_reason}
    return {phase: reason for phase, reason in stopped.plan.skipped.items() if phase is not Phase.TRAIN} | more


def list_offers(stopped: Stopped) -> list[str]:
    """What the user may say so that the rest fits the budget."""
    offers: dict[str, dict[str, Any]] = {}
    if stopped.phase is Phase.SWEEP and stopped.finished:
        offers["skip the rest of the sweep"] = {"skip_sweep": True}
    if stopped.recipe.sweep and stopped.recipe.final and stopped.phase in (Phase.SWEEP, Phase.TRAIN):
        offers["skip the final training"] = {"skip_final_training": True}
    if stopped.phase in (Phase.SWEEP, Phase.TRAIN):
        offers["train for 1 epoch"] = {"epochs": 1.0}
    return [words for words, said in offers.items() if _fits(replace(stopped, intent=stopped.intent | said))]


def _fits(stopped: Stopped) -> bool:
    try:
        draft_increase(stopped)
    except FailedPrecondition:
        return False
    return True
