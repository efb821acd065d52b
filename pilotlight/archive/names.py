"""Which paths a snapshot may hold: relative, printable, of moderate length, the same on every file system."""

import unicodedata

_COMPONENT_BYTES, _PATH_BYTES = 100, 255
"""Moderate, and what any store takes as a part of a name."""


def fault_of(path: str, depth: int) -> str:
    """Why a `/`-separated path is refused; empty when it is fine."""
    parts = path.split("/")
    if not path.isprintable() or "\\" in path:
        return "has a control character, a backslash or a character that cannot be shown"
    if any(part in ("", ".", "..") for part in parts):
        return "is absolute or has an empty or dot component"
    if any(part != part.strip() or part.endswith(".") for part in parts):
        return "has a component with a space at an end or a dot last"
    if unicodedata.normalize("NFC", path) != path:
        return "is not in Unicode normal form C"
    if len(path.encode()) > _PATH_BYTES or any(len(part.encode()) > _COMPONENT_BYTES for part in parts):
        return f"is longer than {_PATH_BYTES} bytes, or has a component longer than {_COMPONENT_BYTES}"
    if len(parts) > depth:
        return f"is more than {depth} deep"
    return ""


def order_of(path: str) -> tuple[bytes, ...]:
    """Sort key of the one order entries have: by component, so that a folder comes right before what is in it."""
    return tuple(part.encode() for part in path.split("/"))


def same_name_of(path: str) -> str:
    """Equal for paths that a file system which ignores case would take for one."""
    return unicodedata.normalize("NFC", path.casefold())
