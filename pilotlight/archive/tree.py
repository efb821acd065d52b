"""A folder that a sandboxed process wrote, looked at from outside: by descriptors, no link followed, never too much."""

import os
import stat
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import NamedTuple

from pilotlight.errors import ResourceExhausted

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Without O_NONBLOCK, opening a FIFO would wait for its writer.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Found(NamedTuple):
    """An entry of a tree. `folder` is an open descriptor of its parent, valid until the walk goes on."""

    parts: tuple[str, ...]
    folder: int
    info: os.stat_result
    """Of the entry itself, never of what a link points to."""

    @property
    def name(self) -> str:
        """The last component."""
        return self.parts[-1]

    @property
    def path(self) -> str:
        """Relative to the root."""
        return "/".join(self.parts)


def open_folder(path: str | os.PathLike[str], parent: int | None = None) -> int:
    """A descriptor of a folder that is not a link, which the caller closes. Raises OSError."""
    return os.open(path, _DIRECTORY, dir_fd=parent)


@contextmanager
def folder_at(path: str | os.PathLike[str], parent: int | None = None) -> Generator[int]:
    """The same, closed at the end of the block."""
    descriptor = open_folder(path, parent)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def open_regular(name: str | os.PathLike[str], parent: int | None = None) -> tuple[int, os.stat_result]:
    """A descriptor (which the caller closes) of a regular file, and its status. Raises OSError: a link, not a file."""
    descriptor = os.open(name, _FILE, dir_fd=parent)
    info = os.fstat(descriptor)
    if not stat.S_ISREG(info.st_mode):
        os.close(descriptor)
        raise FileNotFoundError(f"{os.fspath(name)!a} is not a regular file")
    return descriptor, info


def walk_tree(root: int, *, entries: int, depth: int, strict: bool) -> Iterator[Found]:
    """Everything below `root`, sorted, a folder before what is in it; folders `depth` deep are not entered.

    With `strict`, raises ResourceExhausted beyond `entries` and OSError for what cannot be read; without, it is left
    out.
    """
    return _walk(root, (), _Budget(entries, strict), depth)


def remove_tree(name: str, parent: int) -> None:
    """Delete a folder of `parent` and all in it, however deep: neither recursion nor descriptors grow. Raises OSError.

    What lies deeper is first moved up into `name` itself.
    """
    with folder_at(name, parent) as root:
        moved = 0
        while folders := _clear(root):
            for folder in folders:
                moved = _lift(root, folder, moved)
                os.rmdir(folder, dir_fd=root)
    os.rmdir(name, dir_fd=parent)


class _Budget:
    """Entries that may still be looked at."""

    def __init__(self, entries: int, strict: bool) -> None:
        self.entries, self.left, self.strict = entries, entries, strict

    def names(self, folder: int) -> list[str]:
        with os.scandir(folder) as found:
            names = [entry.name for entry in islice(found, self.left + 1)]
        if len(names) > self.left and self.strict:
            raise ResourceExhausted(f"There are more than {self.entries} files and folders.")
        names = names[: self.left]
        self.left -= len(names)
        return sorted(names, key=os.fsencode)


def _walk(folder: int, prefix: tuple[str, ...], budget: _Budget, depth: int) -> Iterator[Found]:
    for name in budget.names(folder):
        inner, found = None, None
        try:
            found = Found((*prefix, name), folder, os.stat(name, dir_fd=folder, follow_symlinks=False))
            if stat.S_ISDIR(found.info.st_mode) and len(found.parts) < depth:
                inner = open_folder(name, folder)
        except OSError:
            if budget.strict:
                raise
        if found:
            yield found
        if inner is not None:
            try:
                yield from _walk(inner, (*prefix, name), budget, depth)
            finally:
                os.close(inner)


def _clear(folder: int) -> list[str]:
    """Unlink all files of a folder; the names of its folders."""
    folders: list[str] = []
    with os.scandir(folder) as found:
        for entry in found:
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.name)
            else:
                os.unlink(entry.name, dir_fd=folder)
    return folders


def _lift(root: int, name: str, moved: int) -> int:
    with folder_at(name, root) as folder:
        for inner in _clear(folder):
            moved += 1
            os.rename(inner, f".{moved}.lifted", src_dir_fd=folder, dst_dir_fd=root)
    return moved
