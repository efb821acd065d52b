"""The plan of a supervised fine-tuning whose winner is chosen by an evaluator: candidates answer in the sweep."""

from decimal import Decimal
from typing import Any

from pilotlight.plan import Candidate, Phase, PlanValue
from pilotlight.pricebook import PriceBook
from runner.planning import requests, scored_requests
from runner.planning.asking import SPARE_CALLS, Asked, answer_grant, price_asked
from runner.planning.catalogue import BaseFacts
from runner.planning.choices import Choices
from runner.planning.costing import Rest, everything, price_candidates, price_deployment, price_evaluation, price_final
from runner.planning.draft import Draft, Form, Inputs, choose, draft_with, plan_fields, resolve
from runner.planning.pricing import Band
from runner.planning.recipe import EvaluatorUse, Recipe
from runner.planning.sheet import Priced, Sheet
from runner.planning.timing import hours_for, inference_seconds
from runner.planning.values import list_values


def draft_scored(inputs: Inputs) -> Draft:
    """Resolve, price and, if need be, cut. Raises FailedPrecondition when even the smallest plan is over budget."""
    return draft_with(Form(choose, _resolve, price_scored, _fields), inputs)


def price_scored(recipe: Recipe, prices: PriceBook, band: Band, so_far: Decimal, rest: Rest | None = None) -> Priced:
    """Price everything, or the `rest` of it. Scoring itself runs beside the agent and costs nothing."""
    rest = rest or everything(recipe)
    sheet = Sheet(prices, band)
    if rest.candidates:
        price_candidates(sheet, recipe, [[candidate] for candidate in rest.candidates])
    if rest.comparing and recipe.sweep:
        _price_trials(sheet, recipe, rest)
    if rest.final:
        price_final(sheet, recipe, rest.options, rest.gate)
    if rest.evaluation and (recipe.final or not recipe.sweep):
        price_evaluation(sheet, recipe, rest)
    price_deployment(sheet, recipe, rest.options, rest.gate)
    return sheet.total(so_far)


def list_scored_values(recipe: Recipe, intent: dict[str, Any], token_method: str, band: str) -> list[PlanValue]:
    """The plan's values; those that tell how the winner is chosen are of the evaluator."""
    used, found = recipe.scorer, list_values(recipe, intent, token_method, band)
    tie = "a tie (the interval of the paired difference contains 0) goes to the lower validation loss"
    winner = PlanValue(name="evaluation", label="Winner by", value="evaluator score", source="set", note=tie)
    value = f"{used.title} ({used.name})"
    note = f"SHA-256 {used.digest[:12]}; runs in a sandbox beside the agent, which costs nothing"
    evaluator = PlanValue(name="evaluator", label="Evaluator", value=value, source="set", note=note)
    at = next(place for place, item in enumerate(found) if item.name == "evaluation")
    return [*found[:at], winner, evaluator, *found[at + 1 :]]


def trial_seconds(recipe: Recipe, base: BaseFacts, models: int) -> float | None:
    """One replica: the base model, which may ramble on, and so many candidates, which answer like the data."""
    heldout = recipe.heldout
    answer, prompt = (round(n * base.token_scale) for n in (heldout.mean_answer_tokens, heldout.mean_prompt_tokens))
    written = recipe.prompts * (recipe.answer_tokens + models * answer)
    return inference_seconds(base.throughput, written, (1 + models) * recipe.prompts * prompt)


def _resolve(inputs: Inputs, choices: Choices) -> Recipe:
    if inputs.evaluator is None:
        raise ValueError("a plan by evaluator score was drafted without an evaluator")
    recipe = resolve(inputs, choices)
    times = [trial_seconds(recipe, base, len(recipe.tuned_from(base.name))) or 0.0 for base in recipe.bases]
    used: EvaluatorUse = inputs.evaluator.model_copy(update={"trial_hours": hours_for(max(times))})
    return recipe.model_copy(update={"workflow": "sft_scored", "evaluator": used})


def _fields(inputs: Inputs, recipe: Recipe, band: str, done: list[str]) -> dict[str, Any]:
    values = list_scored_values(recipe, inputs.intent, inputs.token_method, band)
    return plan_fields(inputs, recipe, band, done) | {"values": values, "packages": recipe.scorer.requirements}


def _price_trials(sheet: Sheet, recipe: Recipe, rest: Rest) -> None:
    for base in recipe.bases:
        left = [one for one in recipe.tuned_from(base.name) if one.id not in rest.asked]
        if left or scored_requests.base_label(recipe, base.name) not in rest.asked:
            _price_trial(sheet, recipe, base, left)


def _price_trial(sheet: Sheet, recipe: Recipe, base: BaseFacts, left: list[Candidate]) -> None:
    step = requests.trial_step(recipe, base.name)
    call = requests.trial_deployment(recipe, step, base.name)
    seconds, hours = trial_seconds(recipe, base, len(left)), recipe.scorer.trial_hours
    text = (
        f"{recipe.prompts} held-out prompts to {base.id}, not tuned, and to {len(left)} "
        f"candidate{'' if len(left) == 1 else 's'}, scored by the evaluator (with the idle window)"
    )
    name = requests.deployment_name(recipe, call)
    models = [name, *(f"{requests.candidate_model(recipe, one)}#{name}" for one in left)]
    asked = Asked(step, Phase.SWEEP, "plan_approval", text, [call], models, hours, seconds)
    calls = 3 * (1 + len(left)) * recipe.prompts + SPARE_CALLS
    price_asked(sheet, asked, [answer_grant(recipe, f"ask-{step}", asked, calls)])
