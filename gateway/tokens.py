"""Tokens of one inference call: the most it can use, what its answer says it used, and what both cost.

Prices are USD per million tokens, which is micro-dollars per token.
"""

import json
import unicodedata
from decimal import ROUND_CEILING, Decimal
from typing import Any, NamedTuple

from gateway.uncovered import Uncovered
from manifest.facts import Call
from pilotlight.pricebook import ModelPrice, PlannerPrices, PriceBook

OVERHEAD_TOKENS = 2048
"""What a provider adds to a prompt by itself, above all the instructions that make tools work."""


class Usage(NamedTuple):
    """Tokens as a provider bills them; `input` is without those written into or read from its cache."""

    input: int
    output: int
    cache_write: int = 0
    cache_read: int = 0


def price_of(call: Call, prices: PriceBook) -> ModelPrice:
    """The price of what the call addresses. Raises Uncovered when it is unknown."""
    if call.route.surface == "gateway":
        return _planner_price(str(call.body.get("model")), prices.planner)
    flat = prices.inference_per_million_tokens
    if flat is None:
        raise Uncovered("spend.price", f"the {prices.backend} price book has no price per token")
    return ModelPrice(input=flat, output=flat, cache_write=flat, cache_read=flat)


def worst_micros(call: Call, prices: PriceBook) -> int:
    """The most that one call billed by the token can cost. Raises Uncovered when nothing bounds it."""
    price, body = price_of(call, prices), call.body
    _check_no_urls(body.get("messages"))
    tokens = most_input(body)
    if price.holds_up_to is not None and tokens > price.holds_up_to:
        raise Uncovered(
            "spend.price", f"its price is known up to {price.holds_up_to} tokens of input, and this may be {tokens}"
        )
    answers, prompts = _count(body, "n"), body.get("prompt")
    most_output = _limit(body) * (len(prompts) if isinstance(prompts, list) and prompts else 1)
    cost = tokens * max(price.input, price.cache_write) + most_output * price.output
    return _ceiling(cost * answers)


def most_input(body: dict[str, Any]) -> int:
    """An upper bound of the prompt's tokens: its bytes as JSON, and what the provider adds.

    A byte-level tokenizer makes at most one token of a byte. One that normalises first may lengthen the text (a single
    ligature becomes eighteen letters), so the longer of both forms counts.
    """
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    size = len(text.encode())
    if not text.isascii():
        size = max(size, len(unicodedata.normalize("NFKC", text).encode()))
    return size + OVERHEAD_TOKENS


def read_usage(document: Any) -> Usage | None:
    """The usage in an answer of the Messages or the chat completions API; None when there is none to rely on."""
    found = document.get("usage") if isinstance(document, dict) else None
    if not isinstance(found, dict):
        return None
    names = ("input_tokens", "output_tokens") if "output_tokens" in found else ("prompt_tokens", "completion_tokens")
    cached = (found.get("cache_creation_input_tokens") or 0, found.get("cache_read_input_tokens") or 0)
    counts: list[Any] = [found.get(names[0]), found.get(names[1]), *cached]
    if any(type(count) is not int or count < 0 for count in counts):
        return None
    return Usage(*counts)


def cost_micros(usage: Usage, price: ModelPrice) -> int:
    """What that usage costs."""
    return _ceiling(
        usage.input * price.input
        + usage.output * price.output
        + usage.cache_write * price.cache_write
        + usage.cache_read * price.cache_read
    )


def _planner_price(model: str, prices: PlannerPrices | None) -> ModelPrice:
    price = prices.models.get(model) if prices else None
    if price is None:
        raise Uncovered(
            "spend.price",
            f"{model[:80]!r} is not a model that this installation lets the planner call at a known price",
        )
    return price


def _limit(body: dict[str, Any]) -> int:
    named = [body[name] for name in ("max_tokens", "max_completion_tokens") if name in body]
    if not named or any(type(value) is not int or value < 1 for value in named):
        raise Uncovered("spend.tokens", "without max_tokens, a whole number from 1, nothing bounds what it can cost")
    return max(named)


def _count(body: dict[str, Any], name: str) -> int:
    value = body.get(name, 1)
    if type(value) is not int or value < 1:
        raise Uncovered("spend.tokens", f"{name} must be a whole number from 1")
    return value


def _check_no_urls(value: Any) -> None:
    """What stands behind an address may be of any size, so its tokens are not bounded by the request."""
    if isinstance(value, dict):
        url = value.get("url")
        if isinstance(url, str) and not url.startswith("data:"):
            raise Uncovered("spend.tokens", "it names a URL, and the tokens behind that are not bounded")
        for inner in value.values():
            _check_no_urls(inner)
    elif isinstance(value, list):
        for inner in value:
            _check_no_urls(inner)


def _ceiling(cost: Decimal) -> int:
    return int(cost.to_integral_value(ROUND_CEILING))
