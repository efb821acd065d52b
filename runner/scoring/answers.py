"""From what a model writes, or finds likely, to labels."""

import math
import re
from collections.abc import Sequence
from typing import NamedTuple

_GAPS = re.compile(r"[\s_-]+")
_EDGES = " \t\n\"'`*.,;:!?()[]"


class Choice(NamedTuple):
    """The most likely of the given answers, and its share of the probability of all of them."""

    place: int
    share: float


class Matcher:
    """Finds the labels in a written answer: equal to one but for case, gaps, quotes and marks around it."""

    def __init__(self, labels: Sequence[str], multi: bool) -> None:
        self._multi = multi
        keys = [_key(label) for label in labels]
        loose = len(set(keys)) == len(keys)
        self._normal = _key if loose else str.strip
        self._labels = {self._normal(label): label for label in labels}
        self._order = {label: place for place, label in enumerate(labels)}

    def match(self, answer: str) -> tuple[str, ...]:
        """The labels in the order of the list; nothing where any part of the answer is none of them."""
        parts = re.split(r"[,;\n]", answer.strip()) if self._multi else [answer]
        if self._multi and self._normal(answer) in self._labels:
            parts = [answer]
        found = [self._labels.get(self._normal(part)) for part in parts]
        known = {label for label in found if label is not None}
        return tuple(sorted(known, key=lambda label: self._order[label])) if len(known) and None not in found else ()


def choose(scores: Sequence[float]) -> Choice:
    """The first of the highest log-probabilities."""
    best = max(range(len(scores)), key=lambda place: scores[place])
    return Choice(best, 1 / sum(math.exp(score - scores[best]) for score in scores))


def _key(text: str) -> str:
    return _GAPS.sub(" ", text.strip(_EDGES)).strip().casefold()
