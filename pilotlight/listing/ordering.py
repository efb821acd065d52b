"""`orderBy`: field names, each with an optional ` desc` [P16]. The resource name breaks ties, so an order is total."""

import json
import re
from collections.abc import Collection
from typing import Any, NamedTuple

from pilotlight.errors import InvalidArgument
from pilotlight.listing.fields import check_known, check_path, look_up

Key = list[Any]
_INTEGER = re.compile(r"-?\d{1,19}\Z")


class Term(NamedTuple):
    """One part of an order."""

    path: str
    descending: bool


def parse_order(text: str, fields: Collection[str] | None = None) -> list[Term]:
    """`create_time desc, name` -> terms. Raises InvalidArgument. An empty order is newest first."""
    terms = [_parse_term(part, fields) for part in (text.strip() or "createTime desc").split(",")]
    if len(terms) > 10:
        raise InvalidArgument("orderBy has more than 10 fields.", hint="Order by fewer fields.")
    return [*terms, Term("name", False)]


def sort_key(resource: dict[str, Any], terms: list[Term]) -> Key:
    """A JSON-able key: per term [rank of the type, value]."""
    return [_rank(look_up(resource, term.path)) for term in terms]


def compare_keys(left: Key, right: Key, terms: list[Term]) -> int:
    """-1, 0 or 1 in the order of `terms`."""
    for ours, theirs, term in zip(left, right, terms, strict=True):
        if ours != theirs:
            return (1 if ours > theirs else -1) * (-1 if term.descending else 1)
    return 0


def _parse_term(part: str, fields: Collection[str] | None) -> Term:
    words = part.split()
    if not 1 <= len(words) <= 2 or (len(words) == 2 and words[1].lower() not in ("asc", "desc")):
        raise InvalidArgument(f"Invalid orderBy part {part[:80]!r}.", hint="Write `field` or `field desc`.")
    path = check_path(words[0], "orderBy")
    check_known(path, fields, "orderBy")
    return Term(path, words[-1].lower() == "desc" and len(words) == 2)


def _rank(value: Any) -> list[Any]:
    if value is None:
        return [0, 0]
    if isinstance(value, bool | int | float):
        return [1, value + 0]
    if isinstance(value, str):
        return [1, int(value)] if _INTEGER.match(value) else [2, value]
    return [3, json.dumps(value, sort_keys=True)]
