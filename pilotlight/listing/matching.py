"""How one field value compares with one filter literal.

An absent field equals "", false, 0 and null (proto JSON omits defaults) and fails every `<` or `>`. Text that holds an
int64 or an RFC 3339 time compares as such.
"""

import re
from datetime import datetime
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Any, cast

from pilotlight.clock import parse_rfc3339

_NUMBER = re.compile(r"[+-]?\d{1,40}(\.\d{1,40})?([eE][+-]?\d{1,3})?\Z")
_TIME = re.compile(r"\d{4}-\d\d-\d\d(T|\Z)")
_FALSY = ("", "false", "0", "null")


def compare(actual: Any, operator: str, literal: str, quoted: bool) -> bool:
    """Whether `actual <operator> literal` holds. Never raises: values that do not compare do not match."""
    if operator == ":":
        return _has(actual, literal, quoted)
    if operator == "=":
        return _equals(actual, literal)
    if operator == "!=":
        return not _equals(actual, literal)
    return _orders(actual, operator, literal)


def _has(actual: Any, literal: str, quoted: bool) -> bool:
    if literal == "*" and not quoted:
        return actual not in (None, "", [], {}, False)
    if isinstance(actual, list):
        return any(_equals(item, literal) for item in cast("list[Any]", actual))
    if isinstance(actual, dict):
        return literal in actual
    if isinstance(actual, str):
        return literal.casefold() in actual.casefold()
    return _equals(actual, literal)


def _equals(actual: Any, literal: str) -> bool:
    if actual is None:
        return literal.lower() in _FALSY
    if isinstance(actual, bool):
        return literal.lower() == ("true" if actual else "false")
    if isinstance(actual, str):
        return actual == literal or _wild(actual, literal) or _sign(actual, literal) == 0
    return _sign(actual, literal) == 0


def _wild(actual: str, literal: str) -> bool:
    # fnmatch knows ? and [ as well; only * is a wildcard here.
    pattern = literal.replace("[", "[[]").replace("?", "[?]")
    return literal.count("*") in (1, 2, 3) and fnmatchcase(actual, pattern)


def _orders(actual: Any, operator: str, literal: str) -> bool:
    if actual is None or isinstance(actual, bool):
        return False
    sign = _sign(actual, literal)
    if sign is None and isinstance(actual, str):
        sign = (actual > literal) - (actual < literal)
    if sign is None:
        return False
    return {"<": sign < 0, "<=": sign <= 0, ">": sign > 0, ">=": sign >= 0}[operator]


def _sign(actual: Any, literal: str) -> int | None:
    """-1, 0 or 1 as numbers or as times; None when the two are neither."""
    left, right = as_number(actual), as_number(literal)
    if left is not None and right is not None:
        return (left > right) - (left < right)
    start, end = as_time(actual), as_time(literal)
    if start is not None and end is not None:
        return (start > end) - (start < end)
    return None


def as_number(value: Any) -> Decimal | None:
    """The number that a value or literal stands for."""
    text = str(value) if isinstance(value, str | int | float) else ""
    return Decimal(text) if _NUMBER.match(text) else None


def as_time(value: Any) -> datetime | None:
    """The time that a value or literal stands for."""
    if not isinstance(value, str) or not _TIME.match(value):
        return None
    try:
        return parse_rfc3339(value)
    except (ValueError, OverflowError):
        return None
