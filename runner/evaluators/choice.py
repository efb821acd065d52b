"""Which evaluator a plan scores with: one that is written now, was written in this session, or is of the account."""

from typing import Any

from runner.evaluators import author, kept, registered
from runner.evaluators.kept import SOURCE
from runner.planning.recipe import EvaluatorUse
from runner.turn import Turn


def choose_evaluator(turn: Turn, intent: dict[str, Any]) -> EvaluatorUse:
    """The evaluator that the intent asks for, ready to be used. Raises EvaluatorUnfit, with what to say to the user."""
    name = str(intent.get("evaluator") or "")
    if name and name != SOURCE:
        return _use_registered(turn, name)
    record = author.reuse(turn) if name else author.provide(turn, intent)
    return EvaluatorUse(name=SOURCE, title=record.title, digest=record.digest)


def _use_registered(turn: Turn, name: str) -> EvaluatorUse:
    found = registered.fetch(turn, name)
    if not found.requirements:
        registered.try_out(turn, found.source, author.read_staged(turn))
    registered.show(turn, found)
    digest = kept.keep_code(turn.workspace, found.source)
    return EvaluatorUse(name=found.name, title=found.title, digest=digest, requirements=list(found.requirements))
