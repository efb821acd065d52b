"""Datasets and evaluators named in a text. Only full resource names count: a bare word is never taken for one."""

import re
from typing import NamedTuple

from runner.interpreter.text import clause_before

_NAME = re.compile(r"accounts/[a-z0-9-]+/datasets/[A-Za-z0-9._-]*[A-Za-z0-9]")
_EVALUATOR = re.compile(r"accounts/[a-z0-9-]+/evaluators/[A-Za-z0-9._-]*[A-Za-z0-9]")
_OWN_FILE = re.compile(r"\boutputs/[\w./-]*evaluator\.py\b")
_SIDE = r"(?:eval(?:uation|uate)?|test(?:ing|-set)?|validation|held[- ]?out|holdout|hold-out)"
_BEFORE = re.compile(
    rf"\b(?:{_SIDE}(?:ing)?)(?: (?:it|them|set|dataset|data|split|side|model|on|with|using|against|is|=|the|from|to"
    rf"|be|at|in))*[:=]?\s*['\"`(]*$"
)
_AFTER = re.compile(
    rf"^['\"`)]*\s*(?:as|for|is|to be|will be|becomes)\s+(?:the |an? |my |our |its )?(?:separate |external )?{_SIDE}",
    re.IGNORECASE,
)
_TRAIN_AFTER = re.compile(r"^['\"`)]*\s*(?:as|for|is)\s+(?:the |an? |my |our )?train", re.IGNORECASE)


class Datasets(NamedTuple):
    """Training and evaluation dataset, full names."""

    train: str | None
    evaluation: str | None


def find_datasets(text: str) -> Datasets:
    """The first dataset that is not marked as evaluation data trains; the first marked one evaluates.

    Two unmarked datasets mean train and test, in this order [A158, A180].
    """
    train: list[str] = []
    evaluation: list[str] = []
    for match in _NAME.finditer(text):
        (evaluation if _is_evaluation(text, match) else train).append(match[0])
    distinct = [name for name in dict.fromkeys(train) if name not in evaluation]
    if not evaluation and len(distinct) > 1:
        evaluation = [distinct[1]]
    return Datasets(next(iter(distinct), None), next(iter(evaluation), None))


def _is_evaluation(text: str, match: re.Match[str]) -> bool:
    after = text[match.end() : match.end() + 60]
    if _TRAIN_AFTER.match(after):
        return False
    return bool(_BEFORE.search(clause_before(text, match.start())) or _AFTER.match(after))


def find_evaluator(text: str) -> str | None:
    """A registered evaluator's full name, or the workspace file of one written earlier in the session."""
    if match := _EVALUATOR.search(text):
        return match[0]
    if match := _OWN_FILE.search(text):
        return match[0]
    return (
        "outputs/evaluator.py"
        if re.search(
            r"\bevaluator (?:we|you|that was) (?:have )?(?:just )?(?:authored|wrote|made|generated|built|written)",
            text,
            re.I,
        )
        else None
    )
