"""An evaluator that judges: scores of single answers, all asked for at once, in the sandbox of evaluators."""

from collections.abc import Sequence
from typing import Any

from runner.evaluators import author, kept, registered
from runner.evaluators.kept import SOURCE
from runner.evaluators.scores import Case, EvaluatorUnfit, require_difference, score
from runner.judging.question import Answer, Known, Question
from runner.keeping import key_of
from runner.planning.judge_task import JudgeTask
from runner.planning.recipe import EvaluatorUse
from runner.turn import Turn

_TRIED = 30
"""Pairs whose answers are scored before a plan is made."""


class Scores:
    """The scores of all answers to some questions. An answer on which the evaluator fails scores 0."""

    def __init__(self, turn: Turn, task: JudgeTask, questions: Sequence[Question]) -> None:
        self._turn, self._task, self._questions = turn, task, questions
        self._known: dict[str, float] = {}

    def fill(self) -> None:
        """Score everything. Raises EvaluatorUnfit where the evaluator cannot be run, or fails on every answer."""
        cases = {
            _key(question.messages, answer): Case(_row(question.messages, question.known), answer.text)
            for question in self._questions
            for answer in (question.left, question.right)
        }
        source = kept.code_of(self._turn.workspace, self._task.digest)
        found = score(self._turn, source, list(cases.values()), self._task.requirements)
        if found and all(one.error for one in found):
            raise EvaluatorUnfit(f"The evaluator fails on every answer, first with: {found[0].error}.")
        self._known = {key: one.value for key, one in zip(cases, found, strict=True)}

    def of(self, messages: list[dict[str, Any]], answer: Answer, known: tuple[Known, ...]) -> float:
        """The score of one of the answers."""
        return self._known[_key(messages, answer)]


def choose_judging_evaluator(turn: Turn, name: str, pairs: Sequence[Known]) -> EvaluatorUse:
    """The evaluator of the account, or of this session, tried on pairs of the data where there are any.

    One with packages can only be tried once a plan that names them is approved. Raises EvaluatorUnfit.
    """
    if name == SOURCE:
        record = author.reuse(turn)
        chosen = EvaluatorUse(name=SOURCE, title=record.title, digest=record.digest)
    else:
        found = registered.fetch(turn, name)
        registered.show(turn, found)
        digest = kept.keep_code(turn.workspace, found.source)
        chosen = EvaluatorUse(name=name, title=found.title, digest=digest, requirements=list(found.requirements))
    if pairs and not chosen.requirements:
        _try(turn, chosen, pairs[:_TRIED])
    return chosen


def _try(turn: Turn, chosen: EvaluatorUse, pairs: Sequence[Known]) -> None:
    cases = [Case(_row([], (pair,)), text) for pair in pairs for text in pair]
    found = score(turn, kept.code_of(turn.workspace, chosen.digest), cases)
    hint = "It could not tell models apart. Correct it, or leave it out."
    require_difference(found, "answer of the data", "preferred and rejected answers of the data", hint)


def _row(messages: list[dict[str, Any]], known: Sequence[Known]) -> dict[str, Any]:
    """As evaluators know rows: the conversation with its answer, where the data prefers one."""
    if not known:
        return {"messages": messages}
    answer = known[0].preferred
    return {"messages": [*messages, {"role": "assistant", "content": answer}], "ground_truth": answer}


def _key(messages: list[dict[str, Any]], answer: Answer) -> str:
    return key_of(messages, answer.text)
