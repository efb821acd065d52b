"""Field paths: `peft_details.base_model` and `peftDetails.baseModel` name the same field."""

import re
from collections.abc import Collection
from typing import Any, cast

from pilotlight.errors import InvalidArgument

_PATH = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z0-9_-]+)*\Z")


def to_camel(path: str) -> str:
    """`create_time` -> `createTime`, in each segment; camelCase passes unchanged."""
    return ".".join(_camel_segment(segment) for segment in path.split("."))


def check_path(path: str, what: str) -> str:
    """Return `path` in camelCase; raises InvalidArgument naming `what` (filter, orderBy, ...) when it is malformed."""
    if len(path) > 256 or not _PATH.match(path):
        raise InvalidArgument(f"Invalid field path {path[:80]!r} in {what}.", hint="Write fields as `a` or `a.b`.")
    return to_camel(path)


def check_known(path: str, known: Collection[str] | None, what: str) -> None:
    """Raises InvalidArgument when an allow-list is given and the path's first segment is not in it."""
    if known is not None and path.split(".")[0] not in known:
        raise InvalidArgument(f"Unknown field {path!r} in {what}.", hint=f"Fields: {', '.join(sorted(known))}.")


def look_up(resource: dict[str, Any], path: str) -> Any:
    """The value at a camelCase path, None when absent. Map keys are tried as written before their camelCase form."""
    value: Any = resource
    for segment in path.split("."):
        if not isinstance(value, dict):
            return None
        value = cast("dict[str, Any]", value).get(segment)
    return value


def _camel_segment(segment: str) -> str:
    head, *rest = segment.split("_")
    return head + "".join(part[:1].upper() + part[1:] for part in rest)
