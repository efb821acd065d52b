"""What a classification costs: the benchmark of each base model, the candidates with their measurement, the rest."""

import math
from decimal import Decimal

from pilotlight.plan import Candidate, Gate, Phase, Rule
from pilotlight.pricebook import PriceBook
from runner.planning import label_requests, requests
from runner.planning.asking import SPARE_CALLS, Asked, chat_grant, likelihood_grant, price_asked
from runner.planning.catalogue import BaseFacts
from runner.planning.costing import Rest, everything, price_candidates, price_deployment, price_final
from runner.planning.pricing import Band
from runner.planning.recipe import DataSide, Recipe
from runner.planning.sheet import Priced, Sheet, slowest_of
from runner.planning.timing import inference_seconds

_PROMPT_BYTES = 16_000_000
_LONGEST_CHOICE = 10_000
"""Tokens."""


def measuring_seconds(base: BaseFacts, heldout: DataSide, rows: int, choices: int, answer_tokens: int) -> float | None:
    """One model: each row is answered freely once, and each choice is measured once per row."""
    prompt, label = (round(n * base.token_scale) for n in (heldout.mean_prompt_tokens, heldout.mean_answer_tokens))
    calls = rows * (1 + math.ceil(choices / label_requests.CHOICES_AT_ONCE))
    read = rows * (prompt + choices * (prompt + label))
    return inference_seconds(base.throughput, rows * answer_tokens, read, calls)


def price_labels(recipe: Recipe, prices: PriceBook, band: Band, so_far: Decimal, rest: Rest | None = None) -> Priced:
    """Price everything a classification will do, or the `rest` of it."""
    rest = rest or everything(recipe)
    sheet, tunings = Sheet(prices, band), recipe.tunings()
    if rest.comparing:
        _price_benchmark(sheet, recipe, rest)
    if rest.candidates:
        slots = [[tuning.candidate(one.id) for tuning in tunings] for one in rest.candidates]
        price_candidates(sheet, recipe, slots)
    if rest.comparing and recipe.sweep:
        _price_trial(sheet, recipe, tunings, rest)
    if recipe.labels.benchmark_only:
        return sheet.total(so_far)
    options = [tuning.candidate(one.id) for tuning in tunings for one in rest.options]
    if rest.final:
        price_final(sheet, recipe, options, rest.gate)
    if rest.evaluation and recipe.final:
        _price_evaluation(sheet, recipe, options, rest.gate)
    price_deployment(sheet, recipe, options, rest.gate)
    return sheet.total(so_far)


def _price_benchmark(sheet: Sheet, recipe: Recipe, rest: Rest) -> None:
    phase = Phase.EVALUATE if recipe.labels.benchmark_only else Phase.SWEEP
    for base in recipe.bases:
        label = label_requests.bench_label(recipe, base.name)
        if label in rest.asked:
            continue
        call = label_requests.bench_deployment(recipe, base)
        text = f"benchmark of {base.id}, not tuned: {_rows(recipe)} (with its idle window)"
        models = [requests.deployment_name(recipe, call)]
        hours, seconds = recipe.evaluation_hours, _seconds(recipe, base, recipe.answer_tokens)
        _add(sheet, recipe, Asked(label, phase, "plan_approval", text, [call], models, hours, seconds), 1)


def _price_trial(sheet: Sheet, recipe: Recipe, tunings: list[Recipe], rest: Rest) -> None:
    left = [one for one in recipe.candidates if one.id not in rest.asked]
    label = label_requests.TRIAL
    calls = [requests.trial_deployment(recipe, label, tuning.labels.strongest) for tuning in tunings]
    name = requests.deployment_name(recipe, calls[0])
    models = [f"{requests.candidate_model(recipe, one)}#{name}" for one in left]
    times = [_tuned_seconds(recipe, tuning.base(tuning.labels.strongest), len(left)) for tuning in tunings]
    text = f"{len(left)} candidates on the same {_rows(recipe)} (with the idle window)"
    hours = recipe.labels.trial_hours
    trial = Asked(label, Phase.SWEEP, "plan_approval", text, calls, [name, *models], hours, slowest_of(times))
    _add(sheet, recipe, trial, len(left))


def _price_evaluation(sheet: Sheet, recipe: Recipe, options: list[Candidate], gate: Gate) -> None:
    calls = [requests.evaluation_deployment(recipe, option) for option in options]
    name = requests.deployment_name(recipe, calls[0])
    models = [f"{requests.tuned_model(recipe, option)}#{name}" for option in options]
    seconds = slowest_of([_tuned_seconds(recipe, recipe.base(option.base_model), 1) for option in options])
    text = f"the final model on the same {_rows(recipe)} (with the idle window)"
    hours = recipe.evaluation_hours
    _add(sheet, recipe, Asked("eval", Phase.EVALUATE, gate, text, calls, [name, *models], hours, seconds), 1)


def _add(sheet: Sheet, recipe: Recipe, asked: Asked, models: int) -> None:
    """So many models answer all rows, and (with nothing generated) tell how each choice is written and how likely."""
    choices = len(recipe.labels.choices)
    rules = {
        "body.max_tokens": Rule(minimum=0, maximum=recipe.answer_tokens),
        "body.return_token_ids": Rule.exactly(True),
    }
    chats = models * (3 * recipe.prompts + choices + 2) + SPARE_CALLS
    measures = models * 3 * recipe.prompts * math.ceil(choices / label_requests.CHOICES_AT_ONCE) + SPARE_CALLS
    chatting = chat_grant(recipe, f"ask-{asked.name}", asked, chats, rules)
    measuring = likelihood_grant(recipe, asked, measures, _PROMPT_BYTES, _LONGEST_CHOICE)
    price_asked(sheet, asked, [chatting, measuring])


def _tuned_seconds(recipe: Recipe, base: BaseFacts, models: int) -> float | None:
    """A tuned model is expected to answer like the data."""
    answer = max(1, round(recipe.heldout.mean_answer_tokens * base.token_scale))
    one = _seconds(recipe, base, answer)
    return None if one is None else one * models


def _seconds(recipe: Recipe, base: BaseFacts, answer_tokens: int) -> float | None:
    return measuring_seconds(base, recipe.heldout, recipe.prompts, len(recipe.labels.choices), answer_tokens)


def _rows(recipe: Recipe) -> str:
    return f"{recipe.prompts:,} held-out rows, each answered freely and by choosing among {len(recipe.labels.choices)}"
