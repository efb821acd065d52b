"""What the right answers of a dataset have in common: numbers, JSON objects, labels, key facts."""

import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

SHARE = 0.8
"""A kind of evaluator fits when so many of the right answers are of its kind."""
SHORT = 60
"""Characters of an answer that can be expected word for word."""
_LABEL_LENGTH = 48
_NUMBER = re.compile(r"[-+$€£]?\s?[\d,]*\.?\d+\s?%?")
_FACT = re.compile(r"\d|https?://|@\w|(?<![.!?:]\s)(?<!^)\b[A-Z]\w", re.MULTILINE)
_WORD = re.compile(r"[^\W\d_]{4,}")
_FEW_VALUES = 20


def share(answers: Sequence[str], test: Callable[[str], object]) -> float:
    """The share of answers that pass a test; 0 of no answers."""
    return sum(bool(test(answer)) for answer in answers) / len(answers) if answers else 0.0


def is_number(answer: str) -> bool:
    """A number and nothing else, or an answer that marks its final number."""
    return _NUMBER.fullmatch(answer.strip()) is not None or re.search(r"####\s*[-+$]?[\d.,]*\d", answer) is not None


def has_number(answer: str) -> bool:
    """Whether a final number can be read from it."""
    return re.search(r"\d", answer) is not None


def has_facts(answer: str) -> bool:
    """Whether it states a number, an address or a name."""
    return _FACT.search(answer) is not None


def read_object(answer: str) -> dict[str, Any] | None:
    """The JSON object that an answer is, None where it is none."""
    try:
        value = json.loads(answer)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and value else None


def list_labels(answers: Sequence[str]) -> list[str]:
    """The labels, if that is what the answers are: short, and few different ones; else nothing."""
    counts = Counter(answer.strip() for answer in answers)
    short = all(0 < len(label) <= _LABEL_LENGTH for label in counts)
    return sorted(counts) if short and 1 < len(counts) <= max(2, len(answers) // 4) else []


def describe_fields(answers: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """The fields of the JSON objects among the answers, with types and (few) values, and those that all have."""
    objects = [found for answer in answers if (found := read_object(answer)) is not None]
    names = sorted({name for found in objects for name in found})
    fields = {name: _describe([found[name] for found in objects if name in found]) for name in names}
    return fields, [name for name in names if all(name in found for found in objects)]


def common_words(answers: Sequence[str]) -> list[str]:
    """Words that half of the answers have: they tell nothing about any of them."""
    counts = Counter(word for answer in answers for word in set(_WORD.findall(answer.casefold())))
    return sorted(word for word, count in counts.items() if count > len(answers) / 2)


def _describe(values: list[Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"types": sorted({_kind(value) for value in values})}
    texts = Counter(value for value in values if isinstance(value, str))
    few = len(values) >= _FEW_VALUES and found["types"] == ["string"] and len(texts) <= _FEW_VALUES
    if few and min(texts.values()) > 1:
        found["values"] = sorted(texts)
    return found


def _kind(value: Any) -> str:
    names: dict[type, str] = {dict: "object", list: "array", str: "string", bool: "boolean", type(None): "null"}
    return names.get(type(value), "number")
