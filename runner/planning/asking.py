"""What asking models costs: a deployment by its time, and the requests to it, which cost nothing by themselves."""

from decimal import Decimal
from typing import NamedTuple

from pilotlight.plan import Gate, GrantSpec, Phase, Rule
from runner.calls import Call, grant_of
from runner.planning import label_requests, requests
from runner.planning.recipe import Recipe
from runner.planning.sheet import Sheet, hours_price, within
from runner.planning.timing import SCALE_TO_ZERO_SECONDS

MESSAGE_BYTES = 1_000_000
SPARE_CALLS = 200
"""For a replica that is asked again while it wakes up."""


class Asked(NamedTuple):
    """One deployment on which models are asked, and what for."""

    name: str
    phase: Phase
    gate: Gate
    text: str
    calls: list[Call]
    """Alternatives: one of them makes it."""
    models: list[str]
    """As requests name them."""
    hours: float
    """How long it may run."""
    seconds: float | None


def price_asked(sheet: Sheet, asked: Asked, grants: list[GrantSpec]) -> None:
    """Its line, with an idle window at the end, its own grant, and those of the requests."""
    billed = None if asked.seconds is None else asked.seconds + SCALE_TO_ZERO_SECONDS
    amount = within(sheet.priced(billed), hours_price(sheet.prices, asked.hours))
    most = amount.high or Decimal(0)
    sheet.grants.append(grant_of(asked.calls, asked.gate, asked.phase, asked.text, most, max_hours=asked.hours))
    sheet.grants += grants
    sheet.add(asked.phase, "inference", asked.text, amount, asked.seconds)


def answer_grant(recipe: Recipe, step: str, asked: Asked, calls: int) -> GrantSpec:
    """Greedy answers, none longer than the recipe allows."""
    return chat_grant(recipe, step, asked, calls, {"body.max_tokens": Rule(minimum=1, maximum=recipe.answer_tokens)})


def chat_grant(recipe: Recipe, step: str, asked: Asked, calls: int, rules: dict[str, Rule]) -> GrantSpec:
    """Chat at temperature 0, within further rules."""
    rules = rules | {
        "body.messages": Rule(max_bytes=MESSAGE_BYTES),
        "body.tools": Rule(max_bytes=MESSAGE_BYTES),
        "body.temperature": Rule.exactly(0),
    }
    return _grant(recipe.step(step), requests.CHAT, asked, calls, rules)


def likelihood_grant(recipe: Recipe, asked: Asked, calls: int, prompt_bytes: int, longest: int) -> GrantSpec:
    """Log-probabilities of answers of at most `longest` tokens; nothing may be generated."""
    rules = {
        "body.prompt": Rule(max_bytes=prompt_bytes),
        "body.max_tokens": Rule.exactly(0),
        "body.temperature": Rule.exactly(0),
        "body.echo_last": Rule(minimum=1, maximum=longest),
        "body.logprobs": Rule.exactly(0),
    }
    return _grant(recipe.step(f"measure-{asked.name}"), label_requests.COMPLETE, asked, calls, rules)


def _grant(step: str, method: str, asked: Asked, calls: int, rules: dict[str, Rule]) -> GrantSpec:
    """Inference costs nothing by the token on a dedicated deployment: its machine time is what is granted."""
    return GrantSpec(
        id=step,
        gate=asked.gate,
        method=method,
        rules={"body.model": Rule(one_of=list(dict.fromkeys(asked.models)))} | rules,
        max_calls=calls,
        max_cost=Decimal(0),
        phase=asked.phase,
        text=f"up to {calls} requests to the session's own deployments",
    )
