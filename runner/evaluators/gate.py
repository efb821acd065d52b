"""The gate that every evaluator passes before anything is scored with it, whoever wrote it.

It is run in the sandbox on answers whose worth is known. It must give the right answers a high score and wrong ones a
low one, the same score for the same input whatever was scored before, and be fast.
"""

import ast
import json
from collections.abc import Sequence
from typing import NamedTuple

from runner.evaluators import trials
from runner.evaluators.rows import Example
from runner.evaluators.scores import Case, EvaluatorUnfit, Score, score
from runner.turn import Turn

ROWS = 24
SLOWEST = 0.25
"""Seconds of processor time that one answer may take."""
RIGHT = 0.9
"""The least mean score of right answers."""
WRONG: dict[trials.Kind, float] = {"other": 0.5, "damaged": 0.8, "cut": 0.5, "unrelated": 0.25, "empty": 0.1}
"""The highest mean score of each kind of wrong answers."""
LONGEST_SOURCE = 48 << 10
"""Bytes as JSON: it is shown in one message."""


class Line(NamedTuple):
    """One kind of trials: what the answers are, how many, and their mean score."""

    kind: str
    words: str
    answers: int
    mean: float


class Report(NamedTuple):
    """What was found. `problems` is empty when the evaluator passed."""

    rows: int
    lines: list[Line]
    repeatable: bool
    slowest: float
    odd: int
    odd_errors: int
    problems: list[str]
    limit: float = SLOWEST


def check(turn: Turn, source: str, examples: Sequence[Example], compares: bool) -> Report:
    """Run the trials. Raises EvaluatorUnfit when there is nothing to try it on; what it does wrong is in the report."""
    if problem := find_fault(source):
        return Report(0, [], False, 0.0, 0, 0, [problem])
    chosen = trials.choose(examples, ROWS)
    if len(chosen) < 2:
        raise EvaluatorUnfit(
            "The data has fewer than two rows with a right answer, so an evaluator cannot be tried on it.",
            hint="Add rows that end with the assistant's answer, or have a ground_truth.",
        )
    made, odd = trials.make(chosen, compares), trials.odd(chosen)
    cases = [case for kind in made.values() for case in kind] + odd
    try:
        first = score(turn, source, cases)
        again = score(turn, source, cases[::-1])[::-1]
    except EvaluatorUnfit as error:
        return Report(len(chosen), [], False, 0.0, 0, 0, [error.message])
    return _judge(made, first, again, len(chosen), len(odd))


def find_fault(source: str) -> str:
    """What is wrong with the source before it is run: it is only parsed here. Empty when nothing is."""
    if len(json.dumps(source)) > LONGEST_SOURCE:
        return f"It is longer than {LONGEST_SOURCE >> 10} KiB."
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return f"It is not Python: {error}."
    found = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "evaluate"]
    if len(found) != 1 or len(found[0].args.args) != 2:
        return "It must define one function evaluate(row, completion)."
    return ""


def _judge(made: dict[trials.Kind, list[Case]], first: list[Score], again: list[Score], rows: int, odd: int) -> Report:
    lines: list[Line] = []
    problems: list[str] = []
    at = 0
    for kind, cases in made.items():
        scores = first[at : at + len(cases)]
        at += len(cases)
        mean = sum(one.value for one in scores) / len(scores)
        lines.append(Line(kind, trials.WORDS[kind], len(scores), mean))
        problems += _wrong_mean(kind, mean)
        if kind == "truth" and (errors := [one.error for one in scores if one.error]):
            problems.append(f"It fails on {len(errors)} right answers, first with: {errors[0]}.")
    repeatable = [one[:2] for one in first] == [one[:2] for one in again]
    if not repeatable:
        problems.append("The same input does not always have the same score.")
    if len({one.value for one in first[:at]}) == 1:
        problems.append(f"It scores everything alike: {first[0].value:g}.")
    slowest = max(one.seconds for one in [*first, *again])
    if slowest > SLOWEST:
        problems.append(f"One answer takes {slowest:.2f} s of processor time; at most {SLOWEST} s are allowed.")
    odd_errors = sum(bool(one.error) for one in first[at:])
    return Report(rows, lines, repeatable, slowest, odd, odd_errors, problems)


def _wrong_mean(kind: trials.Kind, mean: float) -> list[str]:
    if kind == "truth":
        low = f"Right answers score {mean:.2f} on average; it must be {RIGHT} or more."
        return [low] if mean < RIGHT else []
    high = f"{trials.WORDS[kind].capitalize()} scores {mean:.2f} on average; it must be {WRONG[kind]} or less."
    return [high] if mean > WRONG[kind] else []
