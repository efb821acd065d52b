"""What a creating call makes: its expected name, and whether a resource found under that name is that very one."""

from collections.abc import Mapping
from typing import Any

from manifest.facts import Call
from pilotlight.names import ID_PATTERN

_COLLECTIONS = {"evaluatorsV2": "evaluators"}
_WRAPPERS = ("dataset", "model", "evaluator", "evaluationJob")
"""Body fields that hold the resource itself, beside its ID [P18]."""


def expected_name(call: Call) -> str:
    """The full name that the call creates, from the ID that it carries; empty when the platform chooses the ID."""
    ids = [value for name, value in call.query if call.route.query[name].type == "id"]
    body: Mapping[str, Any] = call.body if isinstance(call.body, dict) else {}
    ids += [value for name, value in body.items() if name in call.route.fields and call.route.fields[name].type == "id"]
    if len(ids) != 1 or not ID_PATTERN.match(str(ids[0])):
        return ""
    parent, _, collection = call.resource.rpartition("/")
    return f"{parent}/{_COLLECTIONS.get(collection, collection)}/{ids[0]}"


def sent_fields(call: Call) -> dict[str, Any]:
    """The fields of the resource that the call set."""
    body: dict[str, Any] = call.body if isinstance(call.body, dict) else {}
    for wrapper in _WRAPPERS:
        if isinstance(inner := body.get(wrapper), dict):
            return inner
    return {name: value for name, value in body.items() if call.route.fields[name].type != "id"}


def same_fields(sent: Mapping[str, Any], found: Mapping[str, Any]) -> bool:
    """Whether `found` has every field as it was sent. Absent equals a default (false, 0, empty), as in proto JSON."""
    return all(_same(value, found.get(name)) for name, value in sent.items())


def _same(sent: Any, found: Any) -> bool:
    if found is None:
        return not sent
    if isinstance(sent, dict) and isinstance(found, dict):
        return same_fields(sent, found)
    if isinstance(sent, bool) or isinstance(found, bool):
        return sent is found
    if isinstance(sent, int | float) or isinstance(found, int | float):
        return _number(sent) == _number(found)
    return sent == found


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None
