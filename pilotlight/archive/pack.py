"""Write a folder as an archive. The same content gives the same bytes, whoever owns it and whenever it was written."""

import os
import stat
import zlib
from collections.abc import Iterator
from typing import NamedTuple, Protocol

from pilotlight.archive.bounds import Bounds
from pilotlight.archive.header import BLOCK, Entry, encode_header
from pilotlight.archive.names import fault_of, same_name_of
from pilotlight.archive.tree import Found, open_regular, walk_tree
from pilotlight.errors import FailedPrecondition, ResourceExhausted

_CHUNK = 1 << 18
_FASTEST, _GZIP = 1, 31


class Sink(Protocol):
    """Takes the bytes of an archive."""

    def write(self, block: bytes, /) -> object:
        """All of `block`."""
        ...


class Packed(NamedTuple):
    """What was written."""

    entries: int
    bytes: int
    """Content of the files, uncompressed."""
    skipped: tuple[str, ...]
    """Paths of links, FIFOs and sockets: never followed, never opened, left out."""


def pack(root: int, target: Sink, bounds: Bounds) -> Packed:
    """Write everything below the folder open as `root`.

    Raises FailedPrecondition for a name that no archive may hold and for a file that changes meanwhile,
    ResourceExhausted beyond `bounds`, OSError.
    """
    packer = _Packer(bounds)
    deflate = zlib.compressobj(_FASTEST, zlib.DEFLATED, _GZIP)
    for block in packer.blocks(root):
        target.write(deflate.compress(block))
    target.write(deflate.flush())
    return Packed(packer.entries, packer.bytes, tuple(packer.skipped))


class _Packer:
    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._names: set[str] = set()
        self.entries, self.bytes = 0, 0
        self.skipped: list[str] = []

    def blocks(self, root: int) -> Iterator[bytes]:
        bounds = self._bounds
        for found in walk_tree(root, entries=bounds.entries, depth=bounds.depth + 1, strict=True):
            if stat.S_ISDIR(found.info.st_mode):
                self._check(found)
                yield encode_header(Entry(found.path, folder=True))
            elif stat.S_ISREG(found.info.st_mode):
                self._check(found)
                yield from self._file(found)
            else:
                self.skipped.append(found.path)
        yield bytes(2 * BLOCK)

    def _check(self, found: Found) -> None:
        fault = fault_of(found.path, self._bounds.depth)
        if not fault and same_name_of(found.path) in self._names:
            fault = "differs from another only in case"
        if fault:
            raise FailedPrecondition(f"The path {found.path[:300]!a} {fault}.", hint="Rename or remove it.")
        self._names.add(same_name_of(found.path))
        self.entries += 1

    def _file(self, found: Found) -> Iterator[bytes]:
        descriptor, info = open_regular(found.name, found.folder)
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            self.bytes += info.st_size
            if self.bytes > self._bounds.total_bytes:
                raise ResourceExhausted(f"The files have more than {self._bounds.total_bytes} bytes together.")
            yield encode_header(Entry(found.path, False, info.st_size))
            left = info.st_size
            while left and (block := file.read(min(left, _CHUNK))):
                left -= len(block)
                yield block
            if left or file.read(1):
                raise FailedPrecondition(f"The file {found.path!a} changed while it was read.")
        yield bytes(-info.st_size % BLOCK)
