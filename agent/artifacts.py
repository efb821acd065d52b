"""Files of a session's workspace that the user may see: plan.md, plan.json, final_report.md and outputs/**.

The workspace belongs to the sandbox, so nothing in it is trusted: every step is opened relative to its parent without
following links, and only regular files are read.
"""

import os
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import NamedTuple

from agent.wire import ArtifactView
from pilotlight.clock import to_rfc3339
from pilotlight.errors import InvalidArgument, NotFound

TOP_FILES = ("plan.md", "plan.json", "final_report.md")
OUTPUTS = "outputs"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Without O_NONBLOCK, opening a FIFO that the sandbox made would wait forever.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_MOST_FILES = 1000
_DEEPEST = 8


class OpenArtifact(NamedTuple):
    """An open regular file; whoever gets it closes `descriptor`."""

    descriptor: int
    size: int


def list_artifacts(workspace: str | os.PathLike[str]) -> list[ArtifactView]:
    """All visible files by path, at most 1000; empty when there is no workspace yet."""
    try:
        root = os.open(workspace, _DIRECTORY)
    except FileNotFoundError:
        return []
    try:
        top = [_describe(name, info) for name in TOP_FILES if (info := _regular(root, name))]
        return sorted([*top, *_walk_outputs(root)], key=lambda artifact: artifact.path)
    finally:
        os.close(root)


def open_artifact(workspace: str | os.PathLike[str], path: str) -> OpenArtifact:
    """Open a visible file for reading.

    Raises InvalidArgument for a path that leaves the workspace, NotFound for what is absent, hidden or not a file.
    """
    parts = path.split("/")
    if "\x00" in path or any(part in ("", ".", "..") for part in parts):
        raise InvalidArgument(f"Invalid artifact path {path[:160]!r}.")
    if not (path in TOP_FILES or (len(parts) > 1 and parts[0] == OUTPUTS)):
        raise _absent(path)
    try:
        return _open(workspace, parts)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise _absent(path) from error
    except OSError as error:  # ELOOP: a link; ENXIO: a socket; ENAMETOOLONG; EACCES
        raise _absent(path) from error


def _open(workspace: str | os.PathLike[str], parts: list[str]) -> OpenArtifact:
    folder = os.open(workspace, _DIRECTORY)
    try:
        for part in parts[:-1]:
            inner = os.open(part, _DIRECTORY, dir_fd=folder)
            os.close(folder)
            folder = inner
        descriptor = os.open(parts[-1], _FILE, dir_fd=folder)
    finally:
        os.close(folder)
    info = os.fstat(descriptor)
    if not stat.S_ISREG(info.st_mode):
        os.close(descriptor)
        raise FileNotFoundError
    return OpenArtifact(descriptor, info.st_size)


def _walk_outputs(root: int) -> Iterator[ArtifactView]:
    try:
        outputs = os.open(OUTPUTS, _DIRECTORY, dir_fd=root)
    except OSError:  # absent, or a link in its place
        return
    count = 0
    try:
        # fwalk goes by descriptors and does not follow links.
        for folder, folders, files, handle in os.fwalk(".", dir_fd=outputs, follow_symlinks=False):
            if folder.count("/") >= _DEEPEST:
                folders.clear()
            prefix = OUTPUTS if folder == "." else f"{OUTPUTS}/{folder[2:]}"
            for name in files:
                if (info := _regular(handle, name)) and _printable(f"{prefix}/{name}"):
                    yield _describe(f"{prefix}/{name}", info)
                    count += 1
                if count >= _MOST_FILES:
                    return
    finally:
        os.close(outputs)


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


def _absent(path: str) -> NotFound:
    return NotFound(f"There is no artifact {path[:160]!r}.", hint="List them with `firectl session get`.")
