"""What generating pairs and judging cost: each model on a deployment of its own, priced by its time."""

from typing import NamedTuple

from pilotlight.money import usd
from pilotlight.plan import Gate, GrantSpec, Phase, Rule
from runner.calls import Call
from runner.planning import judge_requests, requests
from runner.planning.asking import MESSAGE_BYTES, SPARE_CALLS, Asked, chat_grant, likelihood_grant, price_asked
from runner.planning.catalogue import BaseFacts
from runner.planning.pricing import Amount
from runner.planning.recipe import Recipe
from runner.planning.sheet import Sheet
from runner.planning.timing import inference_seconds

_INSTRUCTION_TOKENS = 150
"""Of a judging prompt beside the rubric, the conversation and the answers."""
_PROMPT_BYTES = 4_000_000
_LONGEST_VERDICT = 100
"""Tokens."""
_CHARACTERS_PER_TOKEN = 4
_PLANNER_SECONDS = 8.0
"""Of one answer of the planner's model, roughly."""
_WORST_READ, _OVERHEAD_TOKENS, _AT_ONCE = 6, 2048, 8
"""The gateway reserves each call at its worst: a token for each byte, and what a provider may add to a prompt."""


def writing_seconds(base: BaseFacts, rows: int, prompt_tokens: int, most: int) -> float | None:
    """A model that answers `rows` prompts of so many rough tokens, each with `most` tokens of its own."""
    return inference_seconds(base.throughput, rows * most, rows * prompt_tokens * base.token_scale, rows)


def judging_seconds(base: BaseFacts, pairs: int, prompt_tokens: int, most: int, rubric: str) -> float | None:
    """A model that judges so many pairs in both orders, reading each order once for each of two verdicts."""
    asked = (prompt_tokens + len(rubric) / _CHARACTERS_PER_TOKEN + _INSTRUCTION_TOKENS) * base.token_scale + 2 * most
    return inference_seconds(base.throughput, 0, pairs * 2 * 2 * asked, pairs * 2 * 2)


def price_generation(sheet: Sheet, recipe: Recipe, asked_before: frozenset[str]) -> None:
    """The strong and the weak model, and the judge where it is a model, as far as the pairs are not made yet.

    Those in `asked_before` have answered all prompts.
    """
    delta = recipe.preference.delta
    if delta is None or delta.done:
        return
    for name, base in ((judge_requests.STRONG, delta.strong), (judge_requests.WEAK, delta.weak)):
        if name in asked_before:
            continue
        seconds = writing_seconds(base, delta.rows, delta.mean_prompt_tokens, delta.most)
        text = f"the {name} model ({base.id}) answers {delta.rows:,} prompts (with the idle window)"
        where = _deployed(recipe, name, base)
        asked = Asked(name, Phase.SWEEP, "plan_approval", text, *where, delta.hours, seconds)
        rules = {"body.max_tokens": Rule.exactly(delta.most)}
        price_asked(sheet, asked, [chat_grant(recipe, f"ask-{name}", asked, 3 * delta.rows + SPARE_CALLS, rules)])
    judge = recipe.preference.judge
    if judge.model is not None:
        seconds = judging_seconds(judge.model, delta.rows, delta.mean_prompt_tokens, delta.most, judge.criterion)
        text = f"{judge.model.id} judges up to {delta.rows:,} pairs in both orders (with the idle window)"
        name = judge_requests.PAIR_JUDGE
        where = _deployed(recipe, name, judge.model)
        asked = Asked(name, Phase.SWEEP, "plan_approval", text, *where, delta.judge_hours, seconds)
        price_asked(sheet, asked, _judging_grants(recipe, asked, delta.rows))
    if judge.planner:
        longest = delta.mean_prompt_tokens + 2 * delta.most
        _price_planner(
            sheet, recipe, _Votes(judge_requests.PAIR_JUDGE, Phase.SWEEP, "plan_approval", delta.rows, longest)
        )


def price_judging(sheet: Sheet, recipe: Recipe, name: str, phase: Phase, gate: Gate, models: int) -> None:
    """A model that judges the answers of so many tuned models against those of their base models."""
    judge = recipe.preference.judge
    if judge.planner and models:
        asked_tokens = recipe.heldout.mean_prompt_tokens + 2 * recipe.answer_tokens
        votes = _Votes(name, phase, gate, judge_requests.judged_prompts(recipe) * models, asked_tokens)
        _price_planner(sheet, recipe, votes)
    if judge.model is None or not models:
        return
    pairs, seconds = judge_requests.judged_prompts(recipe) * models, judged_seconds(recipe, models)
    text = f"{judge.model.id} judges {pairs:,} pairs of answers in both orders (with the idle window)"
    asked = Asked(name, phase, gate, text, *_deployed(recipe, name, judge.model), judge.hours, seconds)
    price_asked(sheet, asked, _judging_grants(recipe, asked, pairs))


class _Votes(NamedTuple):
    """Pairs that the planner's model judges; `tokens` are rough ones of a conversation with both answers."""

    name: str
    phase: Phase
    gate: Gate
    pairs: int
    tokens: int


def _price_planner(sheet: Sheet, recipe: Recipe, votes: _Votes) -> None:
    """Both orders of every pair, by the token. The most covers calls under way that are reserved at their worst."""
    judge, calls = recipe.preference.judge, 2 * votes.pairs
    price = sheet.prices.planner and sheet.prices.planner.models.get(judge.planner)
    text = f"{judge.planner} judges up to {votes.pairs:,} pairs in both orders"
    if not price:
        sheet.add(votes.phase, "planner", text, Amount(None, None, None), None)
        return
    read = votes.tokens + len(judge.criterion) // _CHARACTERS_PER_TOKEN + _INSTRUCTION_TOKENS
    written = judge_requests.VERDICT_TOKENS
    each = (read * price.input + written * price.output / 3) / 1_000_000
    worst = (_WORST_READ * read * max(price.input, price.cache_write) + written * price.output) / 1_000_000
    most = usd(2 * calls * each + _AT_ONCE * (worst + _OVERHEAD_TOKENS * price.input / 1_000_000))
    amount = Amount(usd(calls * each / 2), usd(calls * each), most)
    sheet.add(votes.phase, "planner", text, amount, calls * _PLANNER_SECONDS / _AT_ONCE)
    content = Rule(max_bytes=MESSAGE_BYTES)
    rules = {
        "body.model": Rule.exactly(judge.planner),
        "body.max_tokens": Rule.exactly(written),
        "body.messages": content,
        "body.system": content,
    }
    sheet.grants.append(
        GrantSpec(
            id=recipe.step(f"think-{votes.name}"),
            gate=votes.gate,
            method=judge_requests.PLANNER_CALL,
            rules=rules,
            max_calls=2 * calls + SPARE_CALLS,
            max_cost=most,
            phase=votes.phase,
            text=text,
        )
    )


def judged_seconds(recipe: Recipe, models: int) -> float | None:
    """The judge at work on so many tuned models; None where no model judges."""
    judge, pairs = recipe.preference.judge, judge_requests.judged_prompts(recipe) * models
    if judge.model is None:
        return None
    return judging_seconds(judge.model, pairs, recipe.heldout.mean_prompt_tokens, recipe.answer_tokens, judge.criterion)


def _judging_grants(recipe: Recipe, asked: Asked, pairs: int) -> list[GrantSpec]:
    """Prompts in tokens, and the likelihood of each verdict after them: nothing may be generated."""
    calls = 3 * 2 * pairs + SPARE_CALLS
    silent = {"body.max_tokens": Rule.exactly(0), "body.return_token_ids": Rule.exactly(True)}
    chatting = chat_grant(recipe, f"ask-{asked.name}", asked, calls, silent)
    return [chatting, likelihood_grant(recipe, asked, calls, _PROMPT_BYTES, _LONGEST_VERDICT)]


def _deployed(recipe: Recipe, name: str, base: BaseFacts) -> tuple[list[Call], list[str]]:
    """A base model alone: the call that deploys it, and how requests name it then."""
    call = judge_requests.asked_deployment(recipe, name, base)
    return [call], [requests.deployment_name(recipe, call)]
