"""What of a filter and an order a database can do, exactly as `pilotlight.listing` does it in memory.

Only what means the same in both is translated: a part that does not stays for memory, it is never approximated.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, and_, false, literal, not_, or_, true
from sqlmodel import col

from agent.tables import SessionRow
from pilotlight.clock import to_rfc3339
from pilotlight.listing.matching import as_number, as_time
from pilotlight.listing.ordering import Key, Term
from pilotlight.listing.tree import Every, Filter, Negation, Restriction

Condition = ColumnElement[bool]
_LARGEST = 2**53


class _Field(NamedTuple):
    """A field as a column. Words are text that never looks like a number or a time; texts are any text."""

    column: Any
    kind: str


def column_of(field: str) -> Any:
    """The column with a field's value, or None where there is no such column."""
    return _COLUMNS[field].column if field in _COLUMNS else None


def split_filter(tree: Filter) -> tuple[Condition, bool]:
    """A condition that every match fulfils, and whether what fulfils it is a match."""
    parts = tree.parts if isinstance(tree, Every) else (tree,)
    translated = [translate(part) for part in parts]
    return and_(true(), *[part for part in translated if part is not None]), all(
        part is not None for part in translated
    )


def translate(tree: Filter) -> Condition | None:
    """The filter as a condition that is never NULL; None where it would not mean the same."""
    if isinstance(tree, Restriction):
        return _translate_restriction(tree)
    if isinstance(tree, Negation):
        inner = translate(tree.part)
        return None if inner is None else not_(inner)
    parts = [translate(part) for part in tree.parts]
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    return and_(true(), *known) if isinstance(tree, Every) else or_(false(), *known)


def order_by(terms: Sequence[Term], binary: str | None) -> list[ColumnElement[Any]] | None:
    """The order as columns; None where it would not be the same. `binary`: the collation that compares code points."""
    if any(term.path not in _ORDERED for term in terms):
        return None
    columns = [_collated(_COLUMNS[term.path], binary) for term in terms]
    return [column.desc() if term.descending else column.asc() for column, term in zip(columns, terms, strict=True)]


def follows(key: Key, terms: Sequence[Term], binary: str | None) -> Condition | None:
    """Whatever comes after an element with this sort key; None for a key that no session can have."""
    same: list[Condition] = []
    later: list[Condition] = []
    for (rank, value), term in zip(key, terms, strict=True):
        field = _COLUMNS[term.path]
        if (rank, type(value)) != ((1, int) if field.kind == "number" else (2, str)):
            return None
        column = _collated(field, binary)
        later.append(and_(*same, column < value if term.descending else column > value))
        same.append(column == value)
    return or_(*later)


def _translate_restriction(restriction: Restriction) -> Condition | None:
    field, operator, value = _COLUMNS.get(restriction.path), restriction.operator, restriction.value
    if field is None or operator == ":" or "*" in value or "\0" in value:
        return None
    if field.kind == "number":
        return _compare_number(field.column, operator, value)
    time = as_time(value)
    if field.kind == "time" and time is not None:
        return _apply(field.column, operator, to_rfc3339(time))
    if operator not in ("=", "!=") or as_number(value) is not None or time is not None:
        return None
    if field.kind == "optional":
        # an absent field equals the empty value, and nothing else
        same = and_(field.column.is_not(None), field.column == value)
        found = or_(same, field.column.is_(None)) if value.lower() in ("", "false", "0", "null") else same
        return found if operator == "=" else not_(found)
    return _apply(field.column, operator, value)


def _compare_number(column: Any, operator: str, value: str) -> Condition | None:
    number = as_number(value)
    if number is None or number != number.to_integral_value() or abs(number) > _LARGEST:
        return None
    return _apply(column, operator, int(number))


def _apply(column: Any, operator: str, value: Any) -> Condition:
    compared: dict[str, Condition] = {
        "=": column == value,
        "!=": column != value,
        "<": column < value,
        "<=": column <= value,
        ">": column > value,
        ">=": column >= value,
    }
    return compared[operator]


def _collated(field: _Field, binary: str | None) -> Any:
    return field.column.collate(binary) if binary and field.kind != "number" else field.column


_COLUMNS = {
    "name": _Field(literal("accounts/") + col(SessionRow.account) + "/sessions/" + col(SessionRow.id), "text"),
    "sessionId": _Field(col(SessionRow.id), "text"),
    "instruction": _Field(col(SessionRow.instruction), "text"),
    "scope": _Field(col(SessionRow.scope), "text"),
    "status": _Field(col(SessionRow.status), "text"),
    "phase": _Field(col(SessionRow.phase), "optional"),
    "createTime": _Field(col(SessionRow.create_time), "time"),
    "updateTime": _Field(col(SessionRow.update_time), "time"),
    "createdBy": _Field(col(SessionRow.created_by), "text"),
    "turn": _Field(col(SessionRow.turn), "number"),
}
_ORDERED = frozenset({"name", "sessionId", "scope", "status", "createTime", "updateTime", "turn"})
"""Always there, and text that never looks like a number, which would sort before all text."""
