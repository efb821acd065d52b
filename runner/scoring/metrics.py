"""Task metrics of one answer against its reference. All are between 0 and 1."""

import json
import re
from collections import Counter
from collections.abc import Callable
from typing import Any

from pilotlight.plan import canonical_json

Metric = Callable[[str, str], float]
_TOKEN = re.compile(r"\w+|[^\w\s]")
_FINAL = re.compile(r"####\s*([-+]?[\d,]*\.?\d+)")
_SHARE = 0.8
"""A metric for a kind of answer is used when so many references are of that kind."""


def exact_match(answer: str, reference: str) -> float:
    """Equal but for white space at the ends and its amount within."""
    return float(answer.split() == reference.split())


def token_f1(answer: str, reference: str) -> float:
    """Harmonic mean of precision and recall over words and marks, case ignored, with their multiplicity."""
    got, wanted = Counter(_TOKEN.findall(answer.casefold())), Counter(_TOKEN.findall(reference.casefold()))
    common = (got & wanted).total()
    if not got or not wanted:
        return float(got == wanted)
    return 2 * common / (got.total() + wanted.total())


def json_equal(answer: str, reference: str) -> float:
    """Equal as JSON values: the order of keys and white space do not matter."""
    got, wanted = _json(answer), _json(reference)
    return float(got is not None and got == wanted)


def final_number(answer: str, reference: str) -> float:
    """The number after the last `####` is the same."""
    got, wanted = _number(answer), _number(reference)
    return float(got is not None and got == wanted)


METRICS: dict[str, Metric] = {
    "JSON equality": json_equal,
    "final number": final_number,
    "exact match": exact_match,
    "token F1": token_f1,
}


def choose_metrics(references: list[str]) -> dict[str, Metric]:
    """The metrics that make sense for these references, the most telling first."""
    names: list[str] = []
    if _most(references, lambda text: _json(text) is not None and text.lstrip()[:1] in ("{", "[")):
        names.append("JSON equality")
    if _most(references, lambda text: _number(text) is not None):
        names.append("final number")
    return {name: METRICS[name] for name in [*names, "exact match", "token F1"]}


def _most(references: list[str], test: Callable[[str], bool]) -> bool:
    return bool(references) and sum(map(test, references)) >= _SHARE * len(references)


def _json(text: str) -> str | None:
    try:
        value: Any = json.loads(text)
        return canonical_json(value)
    except (ValueError, RecursionError):
        return None


def _number(text: str) -> float | None:
    found = _FINAL.findall(text)
    return float(found[-1].replace(",", "")) if found else None
