"""Rows as evaluators get them: the conversation before the answer, the right answer as text, and the other columns."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pilotlight.plan import canonical_json
from runner.data.conversion import convert
from runner.data.rows import answer_of, prompt_of, read_lines

_SEED = 42
_READ_AT_MOST = 20_000
"""Rows that the kind of an evaluator is chosen by; more would tell no more."""


class Example(NamedTuple):
    """A row for evaluators, and the answer that the data gives to it."""

    row: dict[str, Any]
    answer: str

    @property
    def truth(self) -> str:
        """The right answer."""
        return str(self.row["ground_truth"])


def to_row(row: dict[str, Any]) -> dict[str, Any] | None:
    """The row of a dataset as evaluators get it; None where it has no right answer."""
    truth = truth_of(row)
    return None if truth is None else row | {"messages": prompt_of(row), "ground_truth": truth}


def truth_of(row: dict[str, Any]) -> str | None:
    """The right answer as text: `ground_truth` (an object or a list as JSON), else the last assistant message."""
    truth = row.get("ground_truth")
    if isinstance(truth, dict | list) and truth:
        return canonical_json(truth)
    if isinstance(truth, str | int | float) and str(truth).strip():
        return str(truth)
    answer = answer_of(row)
    return answer if answer and answer.strip() else None


def rows_at(path: Path, lines: Sequence[int]) -> list[dict[str, Any]]:
    """The rows with these ascending line numbers, as evaluators get them; those without a right answer lack it."""
    chosen = set(lines)
    found = [line.value or {} for line in read_lines(path) if line.number in chosen]
    return [to_row(row) or row for row in found]


def read_examples(path: Path, lines: Sequence[int]) -> list[Example]:
    """Up to 20,000 rows of `path` with these line numbers; drawn with a fixed seed where there are more."""
    chosen = set(lines if len(lines) <= _READ_AT_MOST else random.Random(_SEED).sample(list(lines), _READ_AT_MOST))
    found: list[Example] = []
    for line in read_lines(path):
        if line.number in chosen and line.value is not None:
            row, _ = convert(line.value)
            if (given := to_row(row)) is not None:
                found.append(Example(given, answer_of(row) or str(given["ground_truth"])))
    return found
