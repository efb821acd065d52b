"""Validation: the file is loaded with the real Eval Protocol, in the evaluator sandbox, and scores rows of the data."""

from collections.abc import Sequence

from pilotlight.requirements import PROTOCOL_PACKAGES
from pilotlight.tasks import RegistrationCheck
from runner.evaluators.rows import Example
from runner.evaluators.scores import Case, EvaluatorUnfit, score
from runner.rft.file import FILE, function_of
from runner.sandbox.harness import as_source
from runner.turn import Turn

ROWS = 8
RIGHT = 0.9
"""The least mean score of right answers."""


def validate(turn: Turn, text: str, dataset: str, examples: Sequence[Example]) -> list[RegistrationCheck]:
    """What it scores right answers, and those of other rows in their place.

    Raises EvaluatorUnfit when it is empty, does not load, or does not tell the two apart.
    """
    if not text.strip() or "````" in text:  # the plan shows it between four of them
        raise EvaluatorUnfit("The Eval Protocol file is empty, or holds a code fence.")
    chosen = examples[:ROWS]
    moved = [*chosen[1:], *chosen[:1]]
    cases = [Case(example.row, example.answer) for example in chosen]
    cases += [Case(example.row, other.answer) for example, other in zip(chosen, moved, strict=True)]
    source = as_source({FILE: text}, f"{FILE}::{function_of(dataset)}")
    scores = score(turn, source, cases, PROTOCOL_PACKAGES)
    if errors := [one.error for one in scores if one.error]:
        raise EvaluatorUnfit(f"Eval Protocol cannot run it: {errors[0]}.")
    right, other = scores[: len(chosen)], scores[len(chosen) :]
    checks = [
        RegistrationCheck(answers=words, count=len(found), mean=sum(one.value for one in found) / len(found))
        for words, found in (("right answers", right), ("answers of other rows", other))
    ]
    if checks[0].mean < RIGHT or checks[1].mean >= checks[0].mean:
        raise EvaluatorUnfit(
            f"With Eval Protocol it scores right answers {checks[0].mean:.2f} and those of other rows "
            f"{checks[1].mean:.2f} on average: it cannot drive training.",
            hint="Say what else makes an answer right.",
        )
    return checks
