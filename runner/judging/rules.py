"""Judges without a model: a rule that is stated in words and that anybody can check. The order never matters."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from runner.judging.question import Answer, Ballot, Known, Question
from runner.judging.text import last_words
from runner.scoring.metrics import METRICS, choose_metrics, token_f1

_WORD = re.compile(r"\w+")
_CLOSE = 0.01
"""Scores that differ by no more are a tie."""
_RUN = 3


class Score(NamedTuple):
    """The parts of a rule's score, the deciding one first."""

    first: float
    then: float


class ReferenceRule:
    """Better is what agrees with the answer that the data prefers for the same prompt."""

    name = "a rule"

    def __init__(self, metric: str) -> None:
        """`metric` is the name of a task metric; see telling_metric()."""
        self._metric = METRICS[metric]
        self.criterion = (
            f"The better answer is the one with more agreement with the preferred answer of the same prompt: first "
            f"by {metric}; where that is equal, by how much closer it is to the preferred than to the rejected answer "
            f"(difference of the token F1, {_CLOSE:g} or less is equal)."
        )

    def vote(self, question: Question) -> Ballot:
        """Compare the scores; `invalid` where the data prefers nothing for this prompt."""
        if not question.known:
            return Ballot("invalid", "no preferred answer is known for this prompt")
        return _compare(*(self._score(answer.text, question.known) for answer in (question.left, question.right)))

    def _score(self, text: str, known: Sequence[Known]) -> Score:
        hits = sum(self._metric(text, pair.preferred) for pair in known) / len(known)
        gaps = sum(token_f1(text, pair.preferred) - token_f1(text, pair.other) for pair in known) / len(known)
        return Score(hits, gaps)


def telling_metric(references: Sequence[str]) -> str:
    """The name of the metric that says most about agreement with such answers."""
    return next(iter(choose_metrics(list(references))))


class FormRule:
    """Better is what is complete, does not repeat itself and speaks of what was asked: no reference is needed."""

    name = "a rule"
    criterion = (
        "The better answer is the one that ends by itself rather than at the longest length allowed; where both do or "
        f"neither does, the one with the higher sum of two shares (a difference of {_CLOSE:g} or less is none): how "
        f"many of its runs of {_RUN} words differ, which falls when it repeats itself, and how many of the question's "
        "different words it takes up. It says nothing about whether an answer is true."
    )

    def vote(self, question: Question) -> Ballot:
        """Compare the scores."""
        asked = set(_words(last_words(question.messages)))
        return _compare(*(self._score(answer, asked) for answer in (question.left, question.right)))

    def _score(self, answer: Answer, asked: set[str]) -> Score:
        words = _words(answer.text)
        runs = [tuple(words[at : at + _RUN]) for at in range(len(words) - _RUN + 1)]
        different = len(set(runs)) / len(runs) if runs else 0.0
        taken_up = len(asked & set(words)) / len(asked) if asked else 0.0
        return Score(float(answer.finished and bool(words)), different + taken_up)


def _compare(left: Score, right: Score) -> Ballot:
    said = {"first": list(left), "second": list(right)}
    gap = left.first - right.first or left.then - right.then
    if abs(gap) <= _CLOSE:
        return Ballot("tie", said)
    return Ballot("first" if gap > 0 else "second", said)


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())
