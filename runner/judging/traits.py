"""What tells preferred from rejected answers in the data: properties that can be seen, and how often each does."""

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from runner.judging.question import Known
from runner.scoring.intervals import Interval, wilson

_FEWEST = 20
"""Pairs that have to differ in a property before it says anything."""
_MOST = 5


class Property(NamedTuple):
    """One thing to see in an answer: `more` and `less` say it of the answer with the higher or lower value."""

    more: str
    less: str
    value: Callable[[str], float]


class Trait(NamedTuple):
    """A property that tells the sides apart: `share` of the `pairs` that differ in it, in favour of `text`."""

    text: str
    share: Interval
    pairs: int


def _count(pattern: str) -> Callable[[str], float]:
    compiled = re.compile(pattern, re.IGNORECASE | re.MULTILINE)

    def value(text: str) -> float:
        return float(len(compiled.findall(text)))

    return value


def _has(pattern: str) -> Callable[[str], float]:
    counted = _count(pattern)

    def value(text: str) -> float:
        return float(counted(text) > 0)

    return value


def _length(text: str) -> float:
    return float(len(text))


PROPERTIES = (
    Property("is longer", "is shorter", _length),
    Property("has more lines", "has fewer lines", _count(r"\n(?=.*\S)")),
    Property("has more numbers", "has fewer numbers", _count(r"\d+(?:[.,]\d+)*")),
    Property("shows more calculations", "shows fewer calculations", _count(r"\d\s*[-+*/x=]\s*\$?\d")),
    Property("ends with a marked result (####)", "has no marked result (####)", _has(r"^####\s*\S+\s*\Z")),
    Property("has more list items", "has fewer list items", _count(r"^\s*(?:[-*]|\d+[.)])\s")),
    Property("has more code blocks", "has fewer code blocks", _count(r"^```")),
    Property("is a JSON object or list", "is not JSON", _has(r"\A\s*[{\[].*[}\]]\s*\Z")),
    Property("asks more questions", "asks fewer questions", _count(r"\?")),
    Property(
        "apologises or refuses", "does not apologise or refuse", _has(r"\b(?:sorry|apologi[sz]e|i can(?:'|no)t)\b")
    ),
    Property("is more polite (please, thank, glad)", "is less effusive", _count(r"\b(?:please|thank|glad|happy to)\b")),
)


def observe(pairs: Sequence[Known]) -> list[Trait]:
    """The properties whose share has a 95 % interval (Wilson) that leaves out one half, the most telling first.

    At most 5, each of at least 20 pairs that differ in it.
    """
    found = [trait for seen in PROPERTIES if (trait := _judge(seen, pairs))]
    return sorted(found, key=lambda trait: (-trait.share.mean, trait.text))[:_MOST]


def _judge(seen: Property, pairs: Sequence[Known]) -> Trait | None:
    gaps = [seen.value(pair.preferred) - seen.value(pair.other) for pair in pairs]
    higher, lower = sum(gap > 0 for gap in gaps), sum(gap < 0 for gap in gaps)
    share = wilson(max(higher, lower), higher + lower)
    if higher + lower < _FEWEST or share.low <= 0.5:
        return None
    return Trait(seen.more if higher > lower else seen.less, share, higher + lower)
