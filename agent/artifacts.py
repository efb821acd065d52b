"""Files of a session's workspace that the user may see: plan.md, plan.json, final_report.md and outputs/**.

The workspace belongs to the sandbox, so nothing in it is trusted: every step is opened relative to its parent without
following links, and only regular files are read.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from itertools import islice
from typing import NamedTuple

from agent.wire import ArtifactView
from pilotlight.archive import folder_at, open_regular, walk_tree
from pilotlight.clock import to_rfc3339
from pilotlight.errors import InvalidArgument, NotFound

TOP_FILES = ("plan.md", "plan.json", "final_report.md")
OUTPUTS = "outputs"
_MOST_FILES = 1000
_MOST_ENTRIES = 10_000
"""Looked at for one listing, whatever they are."""
_DEEPEST = 9
"""Components below outputs/."""


class OpenArtifact(NamedTuple):
    """An open regular file; whoever gets it closes `descriptor`."""

    descriptor: int
    size: int


def list_artifacts(workspace: str | os.PathLike[str]) -> list[ArtifactView]:
    """All visible files by path, at most 1000; empty when there is no workspace yet."""
    try:
        with folder_at(workspace) as root:
            top = [_describe(name, info) for name in TOP_FILES if (info := _regular(root, name))]
            return sorted([*top, *islice(_walk_outputs(root), _MOST_FILES)], key=lambda artifact: artifact.path)
    except FileNotFoundError:
        return []


def open_artifact(workspace: str | os.PathLike[str], path: str) -> OpenArtifact:
    """Open a visible file for reading.

    Raises InvalidArgument for a path that leaves the workspace, NotFound for what is absent, hidden or not a file.
    """
    check_path(path)
    if not is_visible(path):
        raise no_artifact(path)
    try:
        return _open(workspace, path.split("/"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise no_artifact(path) from error
    except OSError as error:  # ELOOP: a link; ENXIO: a socket; ENAMETOOLONG; EACCES
        raise no_artifact(path) from error


def check_path(path: str) -> None:
    """Raises InvalidArgument for a path that leaves the workspace."""
    if "\x00" in path or any(part in ("", ".", "..") for part in path.split("/")):
        raise InvalidArgument(f"Invalid artifact path {path[:160]!r}.")


def is_visible(path: str) -> bool:
    """Whether a file at this path is the user's to see."""
    parts = path.split("/")
    return path in TOP_FILES or (1 < len(parts) <= _DEEPEST + 1 and parts[0] == OUTPUTS)


def no_artifact(path: str) -> NotFound:
    """The refusal of a path where nothing visible is."""
    return NotFound(f"There is no artifact {path[:160]!r}.", hint="List them with `firectl session get`.")


def _open(workspace: str | os.PathLike[str], parts: list[str]) -> OpenArtifact:
    with ExitStack() as folders:
        folder = folders.enter_context(folder_at(workspace))
        for part in parts[:-1]:
            folder = folders.enter_context(folder_at(part, folder))
        descriptor, info = open_regular(parts[-1], folder)
    return OpenArtifact(descriptor, info.st_size)


def _walk_outputs(root: int) -> Iterator[ArtifactView]:
    with suppress(OSError), folder_at(OUTPUTS, root) as outputs:  # absent, or a link in its place
        for found in walk_tree(outputs, entries=_MOST_ENTRIES, depth=_DEEPEST, strict=False):
            path = f"{OUTPUTS}/{found.path}"
            if stat.S_ISREG(found.info.st_mode) and _printable(path):
                yield _describe(path, found.info)


def _regular(folder: int, name: str) -> os.stat_result | None:
    try:
        info = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except OSError:
        return None
    return info if stat.S_ISREG(info.st_mode) else None


def _printable(path: str) -> bool:
    return path.isprintable() and "\\" not in path


def _describe(path: str, info: os.stat_result) -> ArtifactView:
    time = to_rfc3339(datetime.fromtimestamp(info.st_mtime, UTC))
    return ArtifactView(path=path, size_bytes=str(info.st_size), update_time=time)
