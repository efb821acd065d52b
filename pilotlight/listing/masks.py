"""Read masks select what is returned, update masks what is changed; paths in camelCase or snake_case [P14, P17]."""

from collections.abc import Collection
from typing import Any, cast

from pilotlight.errors import InvalidArgument
from pilotlight.listing.fields import check_path

_MAX_BYTES = 4096


def apply_read_mask(resource: dict[str, Any], mask: str | None) -> dict[str, Any]:
    """The parts of `resource` that `mask` (`name,peftDetails.r`) names; all of it when empty or `*`.

    Raises InvalidArgument on a malformed mask. Paths that do not exist select nothing.
    """
    paths = _parse_paths(mask, "readMask")
    if not paths or "*" in paths:
        return resource
    result: dict[str, Any] = {}
    for path in paths:
        _copy(resource, result, path.split("."))
    return result


def parse_update_mask(mask: str | None, mutable: Collection[str]) -> list[str]:
    """The camelCase fields an update changes: those named, or without a mask every mutable one [P17].

    `mutable` lists first segments. Raises InvalidArgument when the mask names a field that cannot be changed.
    """
    paths = _parse_paths(mask, "updateMask")
    if not paths or "*" in paths:
        return sorted(mutable)
    fixed = sorted(path for path in paths if path.split(".")[0] not in mutable)
    if fixed:
        raise InvalidArgument(
            f"updateMask names what cannot be changed: {', '.join(fixed)[:200]}.",
            hint=f"Fields that can be changed: {', '.join(sorted(mutable))}.",
        )
    return paths


def apply_update(body: dict[str, Any], payload: dict[str, Any], paths: Collection[str]) -> dict[str, Any]:
    """A copy of `body` where each path has the payload's value; a path absent from the payload is removed."""
    result = dict(body)
    for path in paths:
        _assign(result, payload, path.split("."))
    return result


def _parse_paths(mask: str | None, what: str) -> list[str]:
    if not mask or not mask.strip():
        return []
    if len(mask) > _MAX_BYTES:
        raise InvalidArgument(f"{what} is longer than {_MAX_BYTES} characters.")
    parts = [part.strip() for part in mask.split(",")]
    return [part if part == "*" else check_path(part, what) for part in parts]


def _copy(source: Any, target: dict[str, Any], segments: list[str]) -> None:
    if not isinstance(source, dict) or segments[0] not in source:
        return
    head, *rest = segments
    value = cast("dict[str, Any]", source)[head]
    if not rest:
        target[head] = value
    elif isinstance(value, dict):
        child = target.setdefault(head, {})
        # A wider path before this one already copied the whole value.
        if child is not value:
            _copy(value, child, rest)


def _assign(target: dict[str, Any], payload: Any, segments: list[str]) -> None:
    head, *rest = segments
    present = isinstance(payload, dict) and head in payload
    value = cast("dict[str, Any]", payload)[head] if present else None
    if rest:
        old = target.get(head)
        child = dict(cast("dict[str, Any]", old)) if isinstance(old, dict) else {}
        _assign(child, value, rest)
        target[head] = child
    elif present and value is not None:
        target[head] = value
    else:
        target.pop(head, None)
