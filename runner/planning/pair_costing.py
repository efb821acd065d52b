"""What preference learning costs: the runs, and asking every model for its answers and for those of held-out pairs."""

from decimal import Decimal
from typing import NamedTuple

from pilotlight.plan import Candidate, Gate, GrantSpec, Phase, Rule
from pilotlight.pricebook import PriceBook
from runner.calls import Call, grant_of
from runner.planning import label_requests, pair_requests, requests
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
from runner.planning.judge_costing import price_generation, price_judging, writing_seconds
from runner.planning.judge_requests import FINAL_JUDGE, JUDGE, judged_prompts
from runner.planning.pricing import Band
from runner.planning.recipe import DataSide, Recipe
from runner.planning.timing import EVALUATION_BATCH_OVERHEAD, SCALE_TO_ZERO_SECONDS

_REQUEST_SECONDS = 0.01
_PROMPT_BYTES = 4_000_000
_LONGEST_ANSWER = 1_000_000
"""Tokens."""
_SPARE_CALLS = 200
"""For a replica that is asked again while it wakes up."""


def measuring_seconds(base: BaseFacts, heldout: DataSide, rows: int, tuned: int, longest: int) -> float | None:
    """A base model and `tuned` models of it on one replica: each answers `rows` prompts and reads both answers of each.

    A tuned model is expected to answer like the data, the base model to ramble on to the `longest` answer allowed.
    """
    speed = base.throughput
    if speed is None:
        return None
    prompt, answer = (round(n * base.token_scale) for n in (heldout.mean_prompt_tokens, heldout.mean_answer_tokens))
    written = rows * (longest + tuned * answer) / speed.generate_tokens_per_second
    read = (
        rows * (2 * (prompt + answer) + (1 + tuned) * (prompt + 2 * (prompt + answer))) / speed.eval_tokens_per_second
    )
    calls = rows * (2 + 2 * (1 + tuned)) * _REQUEST_SECONDS
    return speed.startup_seconds + EVALUATION_BATCH_OVERHEAD * (written + read) + calls


def trial_seconds(recipe: Recipe, base: BaseFacts, tuned: int) -> float | None:
    """A base model and `tuned` models of it, asked about all that they are compared on."""
    seconds = measuring_seconds(base, recipe.heldout, recipe.prompts, tuned, recipe.answer_tokens)
    delta = recipe.preference.delta
    if seconds is None or delta is None:
        return seconds
    more = writing_seconds(base, judged_prompts(recipe) * (1 + tuned), delta.mean_prompt_tokens, delta.most)
    return None if more is None else seconds + more


def price_pairs(recipe: Recipe, prices: PriceBook, band: Band, so_far: Decimal, rest: Rest | None = None) -> Priced:
    """Price everything that preference learning will do, or the `rest` of it. Deployment waits for the comparison."""
    rest = rest or everything(recipe)
    sheet = Sheet(prices, band)
    price_generation(sheet, recipe, rest.asked)
    if rest.candidates:
        price_candidates(sheet, recipe, [[candidate] for candidate in rest.candidates])
    if rest.comparing and recipe.sweep:
        for base in recipe.bases:
            _price_trial(sheet, recipe, base, rest)
        left = sum(one.id not in rest.asked for one in recipe.candidates)
        price_judging(sheet, recipe, JUDGE, Phase.SWEEP, "plan_approval", left)
    if rest.final:
        price_final(sheet, recipe, rest.options, rest.gate)
    if rest.evaluation and recipe.final:
        _price_evaluation(sheet, recipe, rest.options, rest.gate)
        price_judging(sheet, recipe, FINAL_JUDGE, Phase.EVALUATE, rest.gate, 1)
    price_deployment(sheet, recipe, rest.options, "comparison" if rest.evaluation else rest.gate)
    return sheet.total(so_far)


class _Measured(NamedTuple):
    """One deployment on which models are measured."""

    name: str
    phase: Phase
    gate: Gate
    text: str
    calls: list[Call]
    models: list[str]
    hours: float
    seconds: float | None


def _price_trial(sheet: Sheet, recipe: Recipe, base: BaseFacts, rest: Rest) -> None:
    left = [one for one in pair_requests.tried(recipe, base.name) if one.id not in rest.asked]
    if not left:
        return
    call = pair_requests.trial_deployment(recipe, base)
    name = requests.deployment_name(recipe, call)
    models = [name, *(f"{pair_requests.candidate_model(recipe, one)}#{name}" for one in left)]
    seconds = trial_seconds(recipe, base, len(left))
    text = f"{base.id} and its {_counted(len(left))} on {_rows(recipe)} (with the idle window)"
    label = pair_requests.trial(recipe, base.name)
    hours = recipe.preference.trial_hours
    _add(sheet, recipe, _Measured(label, Phase.SWEEP, "plan_approval", text, [call], models, hours, seconds))


def _price_evaluation(sheet: Sheet, recipe: Recipe, options: list[Candidate], gate: Gate) -> None:
    calls = [requests.evaluation_deployment(recipe, option) for option in options]
    name = requests.deployment_name(recipe, calls[0])
    models = [name, *(f"{requests.tuned_model(recipe, option)}#{name}" for option in options)]
    seconds = slowest_of([trial_seconds(recipe, recipe.base(one.base_model), 1) for one in options])
    text = f"base and final model on {_rows(recipe)} (with the idle window)"
    hours = recipe.evaluation_hours
    _add(sheet, recipe, _Measured("eval", Phase.EVALUATE, gate, text, calls, models, hours, seconds))


def _add(sheet: Sheet, recipe: Recipe, measured: _Measured) -> None:
    billed = None if measured.seconds is None else measured.seconds + SCALE_TO_ZERO_SECONDS
    amount = within(sheet.priced(billed), hours_price(sheet.prices, measured.hours))
    gate, phase, most, hours = measured.gate, measured.phase, amount.high or Decimal(0), measured.hours
    sheet.grants.append(grant_of(measured.calls, gate, phase, measured.text, most, max_hours=hours))
    sheet.grants += [_chat_grant(recipe, measured), _measure_grant(recipe, measured)]
    sheet.add(phase, "inference", measured.text, amount, measured.seconds)


def _chat_grant(recipe: Recipe, measured: _Measured) -> GrantSpec:
    """Answers to held-out prompts, and (with nothing generated) how both answers of a pair are written."""
    rules = {
        "body.messages": Rule(max_bytes=MESSAGE_BYTES),
        "body.tools": Rule(max_bytes=MESSAGE_BYTES),
        "body.max_tokens": Rule(minimum=0, maximum=recipe.answer_tokens),
        "body.temperature": Rule.exactly(0),
        "body.return_token_ids": Rule(one_of=[True, None]),
    }
    asked = recipe.prompts + (judged_prompts(recipe) if recipe.preference.delta else 0)
    calls = 3 * asked * (len(measured.models) + 3) + _SPARE_CALLS
    step, phase = recipe.step(f"ask-{measured.name}"), measured.phase
    return asking_grant(step, requests.CHAT, phase, measured.models, measured.gate, calls, rules)


def _measure_grant(recipe: Recipe, measured: _Measured) -> GrantSpec:
    """Log-probabilities of both answers; nothing may be generated."""
    rules = {
        "body.prompt": Rule(max_bytes=_PROMPT_BYTES),
        "body.max_tokens": Rule.exactly(0),
        "body.temperature": Rule.exactly(0),
        "body.echo_last": Rule(minimum=1, maximum=_LONGEST_ANSWER),
        "body.logprobs": Rule.exactly(0),
    }
    calls = 3 * recipe.prompts * len(measured.models) + _SPARE_CALLS
    step, phase = recipe.step(f"measure-{measured.name}"), measured.phase
    return asking_grant(step, label_requests.COMPLETE, phase, measured.models, measured.gate, calls, rules)


def _counted(candidates: int) -> str:
    return f"{candidates} candidate{'s' if candidates > 1 else ''}"


def _rows(recipe: Recipe) -> str:
    return f"{recipe.prompts:,} held-out pairs: how likely both answers are, and what each model answers itself"
