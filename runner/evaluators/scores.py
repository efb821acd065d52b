"""Run an evaluator on rows: in the sandbox beside this one, and with nothing of what comes back trusted."""

import hashlib
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from pilotlight.errors import FailedPrecondition, InvalidArgument, ResourceExhausted
from runner.turn import Turn

_ROWS_AT_ONCE = 200
_PATH = "/turn/v1/evaluate"
_CALL_SECONDS, _INSTALL_SECONDS = 120.0, 1200.0
"""How long an answer is waited for; the first call with packages installs them."""


class EvaluatorUnfit(FailedPrecondition):
    """There is no evaluator that could be used: it was never written, cannot be run, or did not pass its gate."""


class Case(NamedTuple):
    """A row as evaluators get it, and an answer to score."""

    row: dict[str, Any]
    completion: str


class Score(NamedTuple):
    """`value` is 0.0 where `error` says what went wrong; `seconds` is CPU time as the evaluator's process tells it."""

    value: float
    error: str = ""
    seconds: float = 0.0


def score(turn: Turn, source: str, cases: Sequence[Case], requirements: Sequence[str] = ()) -> list[Score]:
    """The scores in the order of the cases. `requirements` are packages that an approved plan names.

    Raises EvaluatorUnfit when the code as a whole cannot be run: it does not compile, ends its process, or needs more
    time or memory than an evaluator may have.
    """
    scores: list[Score] = []
    for at in range(0, len(cases), _ROWS_AT_ONCE):
        rows = [{"row": case.row, "completion": case.completion} for case in cases[at : at + _ROWS_AT_ONCE]]
        try:
            body = {"source": source, "rows": rows, "requirements": [*requirements]}
            reply = turn.client.post(_PATH, body, _INSTALL_SECONDS if requirements else _CALL_SECONDS)
        except (FailedPrecondition, InvalidArgument, ResourceExhausted) as error:
            raise EvaluatorUnfit(error.message, hint=error.hint) from error
        scores += [_read(result) for result in reply["results"]]
    return scores


def require_difference(scores: Sequence[Score], each: str, both: str, hint: str) -> None:
    """Raises EvaluatorUnfit when it failed on `each` answer, or scored `both` kinds of answers alike."""
    if all(one.error for one in scores):
        raise EvaluatorUnfit(f"The evaluator fails on every {each}, first with: {scores[0].error}.")
    if len({one.value for one in scores}) == 1:
        raise EvaluatorUnfit(f"The evaluator scores everything alike: {scores[0].value:g}, {both}.", hint=hint)


def digest_of(source: str) -> str:
    """What tells one evaluator from another: the SHA-256 of its text, in hex."""
    return hashlib.sha256(source.encode()).hexdigest()


def _read(result: dict[str, Any]) -> Score:
    seconds = float(result.get("seconds") or 0.0)
    if error := str(result.get("error") or ""):
        return Score(0.0, error, seconds)
    value: Any = result.get("value")
    number: Any = value.get("score") if isinstance(value, dict) else value
    if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
        return Score(0.0, f"returned {_kind(value)} instead of a number", seconds)
    if not 0.0 <= number <= 1.0:
        return Score(0.0, f"returned {number:g}, which is not between 0 and 1", seconds)
    return Score(float(number), "", seconds)


def _kind(value: Any) -> str:
    return "an object without a score" if isinstance(value, dict) else type(value).__name__
