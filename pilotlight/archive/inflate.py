"""Bounded reading of one gzip member: never more in memory than was asked for, and nothing before or after it."""

import zlib
from typing import BinaryIO

from pilotlight.archive.bounds import BadArchive

_CHUNK = 1 << 16
_GZIP = 31  # zlib's window bits for a gzip wrapper
_START = b"\x1f\x8b\x08\0"
"""gzip, deflate, no optional fields."""


class Inflater:
    """Reads exact amounts of the content of a gzip file."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._zlib = file, zlib.decompressobj(_GZIP)
        self._waiting = file.read(_CHUNK)
        if not self._waiting.startswith(_START):
            raise BadArchive("It is not a plain gzip file.")

    def read(self, size: int) -> bytes:
        """Exactly `size` bytes. Raises BadArchive when there are fewer, or the compression is damaged."""
        found = bytearray()
        while len(found) < size:
            block = self._inflate(size - len(found))
            if not block:
                raise BadArchive("It ends too early.")
            found += block
        return bytes(found)

    def finish(self) -> None:
        """Raises BadArchive unless the content, and with it the file, ends here."""
        if self._inflate(1):
            raise BadArchive("There is content after its end.")
        if not self._zlib.eof:
            raise BadArchive("It ends too early.")
        if self._zlib.unused_data or self._file.read(1):
            raise BadArchive("There is something after the gzip member.")

    def _inflate(self, most: int) -> bytes:
        """At least one byte, at most `most`; empty at the end."""
        while not self._zlib.eof:
            try:
                block = self._zlib.decompress(self._waiting, most)
            except zlib.error as error:
                raise BadArchive(f"Its compression is damaged: {error}.") from error
            self._waiting = self._zlib.unconsumed_tail
            if block:
                return block
            if not self._waiting and not self._zlib.eof:
                self._waiting = self._file.read(_CHUNK)
                if not self._waiting:
                    return b""
        return b""
