"""A judge made of an evaluator: each answer is scored for itself, and the higher score wins."""

from collections.abc import Callable
from typing import Any

from runner.judging.question import Answer, Ballot, Known, Question

Scorer = Callable[[list[dict[str, Any]], Answer, tuple[Known, ...]], float]
"""Scores one answer to a prompt, between 0 and 1."""


class ScoreJudge:
    """The order never matters to it; equal scores are a tie."""

    def __init__(self, score: Scorer, name: str, criterion: str) -> None:
        """`score` may be called for the same answer twice and has to give the same score."""
        self.name, self.criterion, self._score = name, criterion, score

    def vote(self, question: Question) -> Ballot:
        """Score both and compare."""
        first, second = (
            self._score(question.messages, answer, question.known) for answer in (question.left, question.right)
        )
        said = {"first": first, "second": second}
        return Ballot("tie" if first == second else "first" if first > second else "second", said)
