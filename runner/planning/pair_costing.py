"""What preference learning costs: the runs, and asking every model for its answers and for those of held-out pairs."""

from decimal import Decimal

from pilotlight.plan import Candidate, Gate, Phase, Rule
from pilotlight.pricebook import PriceBook
from runner.planning import requests
from runner.planning.asking import SPARE_CALLS, Asked, chat_grant, likelihood_grant, price_asked
from runner.planning.catalogue import BaseFacts
from runner.planning.costing import Rest, everything, price_candidates, price_deployment, price_final
from runner.planning.judge_costing import price_generation, price_judging, writing_seconds
from runner.planning.judge_requests import FINAL_JUDGE, JUDGE, judged_prompts
from runner.planning.pricing import Band
from runner.planning.recipe import DataSide, Recipe
from runner.planning.sheet import Priced, Sheet, slowest_of
from runner.planning.timing import inference_seconds

_PROMPT_BYTES = 4_000_000
_LONGEST_ANSWER = 1_000_000
"""Tokens."""


def measuring_seconds(base: BaseFacts, heldout: DataSide, rows: int, tuned: int, longest: int) -> float | None:
    """A base model and `tuned` models of it on one replica: each answers `rows` prompts and reads both answers of each.

    A tuned model is expected to answer like the data, the base model to ramble on to the `longest` answer allowed.
    """
    prompt, answer = (round(n * base.token_scale) for n in (heldout.mean_prompt_tokens, heldout.mean_answer_tokens))
    read = rows * (2 * (prompt + answer) + (1 + tuned) * (prompt + 2 * (prompt + answer)))
    calls = rows * (2 + 2 * (1 + tuned))
    return inference_seconds(base.throughput, rows * (longest + tuned * answer), read, calls)


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


def _price_trial(sheet: Sheet, recipe: Recipe, base: BaseFacts, rest: Rest) -> None:
    left = [one for one in recipe.tuned_from(base.name) if one.id not in rest.asked]
    if not left:
        return
    label = requests.trial_step(recipe, base.name)
    call = requests.trial_deployment(recipe, label, base.name)
    name = requests.deployment_name(recipe, call)
    models = [name, *(f"{requests.candidate_model(recipe, one)}#{name}" for one in left)]
    seconds = trial_seconds(recipe, base, len(left))
    text = f"{base.id} and its {_counted(len(left))} on {_rows(recipe)} (with the idle window)"
    hours = recipe.preference.trial_hours
    _add(sheet, recipe, Asked(label, Phase.SWEEP, "plan_approval", text, [call], models, hours, seconds))


def _price_evaluation(sheet: Sheet, recipe: Recipe, options: list[Candidate], gate: Gate) -> None:
    calls = [requests.evaluation_deployment(recipe, option) for option in options]
    name = requests.deployment_name(recipe, calls[0])
    models = [name, *(f"{requests.tuned_model(recipe, option)}#{name}" for option in options)]
    seconds = slowest_of([trial_seconds(recipe, recipe.base(one.base_model), 1) for one in options])
    text = f"base and final model on {_rows(recipe)} (with the idle window)"
    hours = recipe.evaluation_hours
    _add(sheet, recipe, Asked("eval", Phase.EVALUATE, gate, text, calls, models, hours, seconds))


def _add(sheet: Sheet, recipe: Recipe, asked: Asked) -> None:
    """Answers to held-out prompts, and (with nothing generated) how a pair is written, and how likely."""
    rules = {
        "body.max_tokens": Rule(minimum=0, maximum=recipe.answer_tokens),
        "body.return_token_ids": Rule(one_of=[True, None]),
    }
    prompts = recipe.prompts + (judged_prompts(recipe) if recipe.preference.delta else 0)
    chats = 3 * prompts * (len(asked.models) + 3) + SPARE_CALLS
    measures = 3 * recipe.prompts * len(asked.models) + SPARE_CALLS
    chatting = chat_grant(recipe, f"ask-{asked.name}", asked, chats, rules)
    measuring = likelihood_grant(recipe, asked, measures, _PROMPT_BYTES, _LONGEST_ANSWER)
    price_asked(sheet, asked, [chatting, measuring])


def _counted(candidates: int) -> str:
    return f"{candidates} candidate{'s' if candidates > 1 else ''}"


def _rows(recipe: Recipe) -> str:
    return f"{recipe.prompts:,} held-out pairs: how likely both answers are, and what each model answers itself"
