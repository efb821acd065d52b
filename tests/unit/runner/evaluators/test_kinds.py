"""The library: which kind is chosen, what its file scores, and what is refused in words."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from runner.evaluators.draft import write_from_library
from runner.evaluators.gate import find_fault
from runner.evaluators.kinds import choose_kind
from runner.evaluators.scores import EvaluatorUnfit

NUMBERS = [f"She has {n} left, so it is {n * 3}.\n#### {n * 3}" for n in range(10)]
OBJECTS = [json.dumps({"intent": ("play", "book")[n % 2], "city": f"Town {n}"}) for n in range(40)]
LABELS = ["refund", "login", "delivery"] * 6
SHORT = [f"Order {'abcdefghijkl'[n]} is on its way." for n in range(12)]
LONG = [
    f"Please call Mrs Smith{n} at our office in Leeds before {n + 9}:30, and have order {n}7A at hand, since "
    "without it nothing can be done about the matter."
    for n in range(10)
]
PROSE = ["it depends on many things, and most of all on what you would rather have in the end, so think about it"] * 10


@pytest.mark.parametrize(
    ("wish", "truths", "kind"),
    [
        ("", NUMBERS, "numeric"),
        ("", OBJECTS, "json_equal"),
        ("", LABELS, "label"),
        ("", SHORT, "normalised"),
        ("", LONG, "key_facts"),
        ("check whether the answer matches ground truth", OBJECTS, "json_equal"),
        ("verify the JSON has the right schema", OBJECTS, "json_schema"),
        ("Score whether the final numeric answer matches ground truth.", NUMBERS, "numeric"),
        ("Outputs are short text answers; check whether the final assistant reply matches ground truth on key facts.",
         LONG, "key_facts"),
        ("exact match with the ground truth", SHORT, "exact"),
        ("the same but ignoring case", SHORT, "normalised"),
        ("does it name the right category", LABELS, "label"),
        ("the answer matches the pattern `\\d+`", NUMBERS, "regex"),
    ],
)  # fmt: skip
def test_kind_follows_from_wish_and_data(wish: str, truths: list[str], kind: str) -> None:
    assert choose_kind(wish, truths).name == kind


@pytest.mark.parametrize(
    ("wish", "truths", "words"),
    [
        ("", PROSE, "begin with validation loss"),
        ("score how friendly and helpful it sounds", SHORT, "None of the built-in evaluators checks this"),
        ("compare the JSON fields", LABELS, 'only 0% .*"Label" would fit'),
        ("check the label", NUMBERS, "You asked for"),
        ("it must match the pattern", NUMBERS, "Which pattern"),
        ("it must match the pattern `(`", NUMBERS, "cannot be read"),
    ],
)
def test_what_cannot_be_checked_is_said(wish: str, truths: list[str], words: str) -> None:
    with pytest.raises(EvaluatorUnfit) as caught:
        choose_kind(wish, truths)
    assert re.search(words, str(caught.value)), str(caught.value)


def scorer(wish: str, truths: list[str]) -> Callable[[str, str], float]:
    """The written file, run here: it is ours."""
    draft = write_from_library(choose_kind(wish, truths), "accounts/a/datasets/d", wish)
    assert find_fault(draft.source) == ""
    assert "eval_spec.md" in draft.source
    assert draft.spec.count("\n## ") == draft.spec.count("\n\n## ") == 3
    namespace: dict[str, Any] = {}
    exec(compile(draft.source, "evaluator.py", "exec"), namespace)

    def evaluate(truth: str, answer: str) -> float:
        return namespace["evaluate"]({"ground_truth": truth}, answer)

    return evaluate


@pytest.mark.parametrize(
    ("wish", "truths", "truth", "answer", "expected"),
    [
        ("exact match", SHORT, "Yes,  it is", "Yes, it\nis", 1.0),
        ("exact match", SHORT, "Yes", "yes", 0.0),
        ("", SHORT, "It's a C++ file.", "it's a c++ FILE", 1.0),
        ("", SHORT, "-5", "5", 0.0),
        ("", SHORT, "...", "", 0.0),
        ("", NUMBERS, "72", "48+24=72, of which 3\n#### 72 clips", 1.0),
        ("", NUMBERS, "1,234.50", "It costs $1234.5.", 1.0),
        ("", NUMBERS, "10", "20-10", 1.0),
        ("", NUMBERS, "-3", "So it is \N{MINUS SIGN}3", 1.0),
        ("", NUMBERS, "3", "no idea", 0.0),
        ("", NUMBERS, "3", "3.01", 0.0),
        ("the number within 1%", NUMBERS, "300", "302", 1.0),
        ("the number within 1%", NUMBERS, "300", "304", 0.0),
        ("the number, tolerance 0.5", NUMBERS, "3", "3.4", 1.0),
        ("", OBJECTS, '{"a": 1, "b": [true, null]}', '```json\n{"b": [true, null], "a": 1.0}\n```', 1.0),
        ("", OBJECTS, '{"a": 1, "b": "x"}', '{"a": true, "b": "x"}', 0.5),
        ("", OBJECTS, '{"a": 1}', 'Here it is: {"a": 1}', 0.0),
        ("", OBJECTS, '{"a": 1}', '{"a": NaN}', 0.0),
        ("JSON, exact", OBJECTS, '{"a": 1, "b": "x"}', '{"a": 1, "b": "y"}', 0.0),
        ("the schema", OBJECTS, "{}", '{"intent": "play", "city": "anywhere"}', 1.0),
        ("the schema", OBJECTS, "{}", '{"intent": "sing", "city": "anywhere"}', 0.5),
        ("the schema", OBJECTS, "{}", '{"intent": "play", "city": 3, "more": 1}', 1 / 3),
        ("the schema", OBJECTS, "{}", "{}", 0.0),
        ("", LABELS, "refund", "That is a Refund!", 1.0),
        ("", LABELS, "refund", "refund or login", 0.0),
        ("", LABELS, "refund", "refunds", 0.0),
        ("", ["not spam", "spam"] * 6, "spam", "It is not spam", 0.0),
        ("key facts", LONG, "Ask Mr Brown about 1,200 in Leeds", "brown, from leeds, has 1200", 1.0),
        ("key facts", LONG, "Ask Mr Brown about 1200", "Brown has 12000", 1 / 2),
        ("key facts", LONG, "write to a.b@c.org", "A.B@c.org", 1.0),
        ("the pattern `[A-Z]{2}\\d+` as in the ground truth", SHORT, "AB12 x", "it is AB12", 1.0),
        ("the pattern `[A-Z]{2}\\d+` as in the ground truth", SHORT, "AB12 x", "it is AB13", 0.0),
        ("a valid format, pattern `[A-Z]{2}\\d+`", SHORT, "AB12 x", "it is AB13", 1.0),
    ],
)
def test_scores(wish: str, truths: list[str], truth: str, answer: str, expected: float) -> None:
    assert scorer(wish, truths)(truth, answer) == pytest.approx(expected)


def test_labels_of_the_data_are_only_values_in_the_file() -> None:
    nasty = ['"""\nimport os', "'); raise SystemExit(('", "`{{ 1 }}`", "\\"] * 6
    assert scorer("", nasty)("\\", "none of them") == 0.0
