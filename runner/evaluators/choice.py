"""Which evaluator a plan scores with: one that is written now, or the one that was written in this session before."""

from typing import Any

from runner.evaluators import author
from runner.evaluators.kept import SOURCE
from runner.planning.recipe import EvaluatorUse
from runner.turn import Turn


def choose_evaluator(turn: Turn, intent: dict[str, Any]) -> EvaluatorUse:
    """The evaluator that the intent asks for, ready to be used. Raises EvaluatorUnfit, with what to say to the user."""
    record = author.reuse(turn) if intent.get("evaluator") == SOURCE else author.provide(turn, intent)
    return EvaluatorUse(name=SOURCE, title=record.title, digest=record.digest)
