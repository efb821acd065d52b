"""What a classification costs: the benchmark of each base model, the candidates with their measurement, the rest."""

import math
from decimal import Decimal
from typing import NamedTuple

from pilotlight.plan import Candidate, Gate, GrantSpec, Phase, Rule
from pilotlight.pricebook import PriceBook
from runner.calls import Call, grant_of
from runner.planning import label_requests, requests
from runner.planning.catalogue import BaseFacts
from runner.planning.costing import (
    MESSAGE_BYTES,
    Priced,
    Rest,
    Sheet,
    asking_grant,
    everything,
    hours_price,
    price_candidates,
    price_deployment,
    price_final,
    slowest_of,
    within,
)
from runner.planning.pricing import Band
from runner.planning.recipe import DataSide, Recipe
from runner.planning.timing import EVALUATION_BATCH_OVERHEAD, SCALE_TO_ZERO_SECONDS

_REQUEST_SECONDS = 0.01
_PROMPT_BYTES = 16_000_000
_LONGEST_CHOICE = 10_000
"""Tokens."""
_SPARE_CALLS = 200
"""For a replica that is asked again while it wakes up."""


def measuring_seconds(base: BaseFacts, heldout: DataSide, rows: int, choices: int, answer_tokens: int) -> float | None:
    """One model: each row is answered freely once, and each choice is measured once per row."""
    speed = base.throughput
    if speed is None:
        return None
    prompt, label = (round(n * base.token_scale) for n in (heldout.mean_prompt_tokens, heldout.mean_answer_tokens))
    written = rows * answer_tokens / speed.generate_tokens_per_second
    read = rows * (prompt + choices * (prompt + label)) / speed.eval_tokens_per_second
    calls = rows * (1 + math.ceil(choices / label_requests.CHOICES_AT_ONCE)) * _REQUEST_SECONDS
    return speed.startup_seconds + EVALUATION_BATCH_OVERHEAD * (written + read) + calls


def hours_for(seconds: float | None) -> float:
    """Enough for three times the expected time and two idle windows, in quarters of an hour."""
    return math.ceil((3 * (seconds or 0.0) + 2 * SCALE_TO_ZERO_SECONDS) / 900) / 4


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


class _Measured(NamedTuple):
    """One deployment on which models are measured."""

    name: str
    phase: Phase
    gate: Gate
    text: str
    calls: list[Call]
    models: list[str]
    asked: int
    hours: float
    seconds: float | None


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
        _add(sheet, recipe, _Measured(label, phase, "plan_approval", text, [call], models, 1, hours, seconds))


def _price_trial(sheet: Sheet, recipe: Recipe, tunings: list[Recipe], rest: Rest) -> None:
    left = [one for one in recipe.candidates if one.id not in rest.asked]
    calls = [label_requests.trial_deployment(recipe, tuning.labels.strongest) for tuning in tunings]
    name = requests.deployment_name(recipe, calls[0])
    models = [f"{label_requests.candidate_model(recipe, one)}#{name}" for one in left]
    times = [_tuned_seconds(recipe, tuning.base(tuning.labels.strongest), len(left)) for tuning in tunings]
    text = f"{len(left)} candidates on the same {_rows(recipe)} (with the idle window)"
    hours, label = recipe.labels.trial_hours, label_requests.TRIAL
    trial = _Measured(
        label, Phase.SWEEP, "plan_approval", text, calls, [name, *models], len(left), hours, slowest_of(times)
    )
    _add(sheet, recipe, trial)


def _price_evaluation(sheet: Sheet, recipe: Recipe, options: list[Candidate], gate: Gate) -> None:
    calls = [requests.evaluation_deployment(recipe, option) for option in options]
    name = requests.deployment_name(recipe, calls[0])
    models = [f"{requests.tuned_model(recipe, option)}#{name}" for option in options]
    seconds = slowest_of([_tuned_seconds(recipe, recipe.base(option.base_model), 1) for option in options])
    text = f"the final model on the same {_rows(recipe)} (with the idle window)"
    hours = recipe.evaluation_hours
    _add(sheet, recipe, _Measured("eval", Phase.EVALUATE, gate, text, calls, [name, *models], 1, hours, seconds))


def _add(sheet: Sheet, recipe: Recipe, measured: _Measured) -> None:
    billed = None if measured.seconds is None else measured.seconds + SCALE_TO_ZERO_SECONDS
    amount = within(sheet.priced(billed), hours_price(sheet.prices, measured.hours))
    gate, phase, most, hours = measured.gate, measured.phase, amount.high or Decimal(0), measured.hours
    sheet.grants.append(grant_of(measured.calls, gate, phase, measured.text, most, max_hours=hours))
    sheet.grants += [_chat_grant(recipe, measured), _measure_grant(recipe, measured)]
    sheet.add(phase, "inference", measured.text, amount, measured.seconds)


def _chat_grant(recipe: Recipe, measured: _Measured) -> GrantSpec:
    """Answers, and (with nothing generated) how each choice is written."""
    rules = {
        "body.messages": Rule(max_bytes=MESSAGE_BYTES),
        "body.tools": Rule(max_bytes=MESSAGE_BYTES),
        "body.max_tokens": Rule(minimum=0, maximum=recipe.answer_tokens),
        "body.temperature": Rule.exactly(0),
        "body.return_token_ids": Rule.exactly(True),
    }
    calls = measured.asked * (3 * recipe.prompts + len(recipe.labels.choices) + 2) + _SPARE_CALLS
    step, phase = recipe.step(f"ask-{measured.name}"), measured.phase
    return asking_grant(step, requests.CHAT, phase, measured.models, measured.gate, calls, rules)


def _measure_grant(recipe: Recipe, measured: _Measured) -> GrantSpec:
    """Log-probabilities of the choices; nothing may be generated."""
    rules = {
        "body.prompt": Rule(max_bytes=_PROMPT_BYTES),
        "body.max_tokens": Rule.exactly(0),
        "body.temperature": Rule.exactly(0),
        "body.echo_last": Rule(minimum=1, maximum=_LONGEST_CHOICE),
        "body.logprobs": Rule.exactly(0),
    }
    batches = math.ceil(len(recipe.labels.choices) / label_requests.CHOICES_AT_ONCE)
    calls = measured.asked * 3 * recipe.prompts * batches + _SPARE_CALLS
    step, phase = recipe.step(f"measure-{measured.name}"), measured.phase
    return asking_grant(step, label_requests.COMPLETE, phase, measured.models, measured.gate, calls, rules)


def _tuned_seconds(recipe: Recipe, base: BaseFacts, models: int) -> float | None:
    """A tuned model is expected to answer like the data."""
    answer = max(1, round(recipe.heldout.mean_answer_tokens * base.token_scale))
    one = _seconds(recipe, base, answer)
    return None if one is None else one * models


def _seconds(recipe: Recipe, base: BaseFacts, answer_tokens: int) -> float | None:
    return measuring_seconds(base, recipe.heldout, recipe.prompts, len(recipe.labels.choices), answer_tokens)


def _rows(recipe: Recipe) -> str:
    return f"{recipe.prompts:,} held-out rows, each answered freely and by choosing among {len(recipe.labels.choices)}"
