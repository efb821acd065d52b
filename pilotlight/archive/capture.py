"""Look at everything in a folder that somebody untrusted wrote, without following any of it."""

import os
import stat
from collections.abc import Callable, Iterator
from typing import NamedTuple

from pilotlight.archive.bounds import Bounds
from pilotlight.archive.manifest import Entry, Kind
from pilotlight.archive.names import fault_of, same_name_of
from pilotlight.archive.tree import Found, open_regular, walk_tree
from pilotlight.errors import FailedPrecondition, ResourceExhausted

_CHUNK = 1 << 20


class Stored(NamedTuple):
    """Where the content of a file is kept."""

    digest: str
    epoch: int


Keep = Callable[[str, int, os.stat_result], Stored]
"""Keeps the content of one regular file: its path, a descriptor at its start (closed by `capture`) and its status."""


class Captured(NamedTuple):
    """What was found."""

    entries: list[Entry]
    skipped: tuple[str, ...]
    """Paths of links, FIFOs and sockets: never followed, never opened, left out."""


def capture(root: int, bounds: Bounds, keep: Keep) -> Captured:
    """Everything below the folder open as `root`, with the content of each file given to `keep`.

    Raises FailedPrecondition for a name that no snapshot may hold, ResourceExhausted beyond `bounds`, OSError, and
    what `keep` raises.
    """
    capturer = _Capturer(bounds, keep)
    for found in walk_tree(root, entries=bounds.entries, depth=bounds.depth + 1, strict=True):
        capturer.add(found)
    return Captured(capturer.entries, tuple(capturer.skipped))


def blocks_of(path: str, descriptor: int, size: int) -> Iterator[bytes]:
    """The content of an open file of `size` bytes, from its start.

    Raises FailedPrecondition when it has more or fewer by now: a process outlived its sandbox for a moment.
    """
    os.lseek(descriptor, 0, os.SEEK_SET)
    left = size
    while left and (block := os.read(descriptor, min(left, _CHUNK))):
        left -= len(block)
        yield block
    if left or os.read(descriptor, 1):
        raise FailedPrecondition(f"The file {path!a} changed while it was read.")


class _Capturer:
    def __init__(self, bounds: Bounds, keep: Keep) -> None:
        self._bounds, self._keep = bounds, keep
        self._names: set[str] = set()
        self._bytes = 0
        self.entries: list[Entry] = []
        self.skipped: list[str] = []

    def add(self, found: Found) -> None:
        if stat.S_ISDIR(found.info.st_mode):
            self._check(found)
            self.entries.append(Entry(found.path, Kind.FOLDER))
        elif stat.S_ISREG(found.info.st_mode):
            self._check(found)
            self.entries.append(self._file(found))
        else:
            self.skipped.append(found.path)

    def _check(self, found: Found) -> None:
        fault = fault_of(found.path, self._bounds.depth)
        if not fault and same_name_of(found.path) in self._names:
            fault = "differs from another only in case"
        if fault:
            raise FailedPrecondition(f"The path {found.path[:300]!a} {fault}.", hint="Rename or remove it.")
        self._names.add(same_name_of(found.path))

    def _file(self, found: Found) -> Entry:
        descriptor, info = open_regular(found.name, found.folder)
        try:
            self._bytes += info.st_size
            if self._bytes > self._bounds.total_bytes:
                raise ResourceExhausted(f"The files have more than {self._bounds.total_bytes} bytes together.")
            digest, epoch = self._keep(found.path, descriptor, info)
        finally:
            os.close(descriptor)
        kind = Kind.PROGRAM if info.st_mode & stat.S_IXUSR else Kind.FILE
        return Entry(found.path, kind, info.st_size, digest, epoch)
