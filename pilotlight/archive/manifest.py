"""The manifest of a snapshot: every folder and file, and where the content of each file is.

It has exactly one encoding, canonical JSON, so equal folders have equal manifests; nothing else is decoded.
"""

import json
import re
from collections.abc import Iterable
from enum import StrEnum
from typing import Any, NamedTuple, cast

from pilotlight.archive.bounds import BadArchive, Bounds
from pilotlight.archive.names import fault_of, order_of, same_name_of

_VERSION = 1
_DIGEST = re.compile(r"[0-9a-f]{64}")


class Kind(StrEnum):
    """What an entry is. All belong to one user alone, so this is all of its mode."""

    FOLDER = "0700/"
    FILE = "0600"
    PROGRAM = "0700"
    """A file that its owner may execute."""


class Entry(NamedTuple):
    """A folder or a regular file. `path` is relative, with `/` between its components."""

    path: str
    kind: Kind
    size: int = 0
    digest: str = ""
    """SHA-256 of the content in hex; empty for a folder."""
    epoch: int = 0
    """In which turn's folder of the store the content is; 0 for a folder."""


def encode_manifest(entries: Iterable[Entry]) -> bytes:
    """The bytes of a manifest; `entries` come in the order of `capture`."""
    document = {"version": _VERSION, "entries": [list(entry) for entry in entries]}
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def decode_manifest(content: bytes, bounds: Bounds) -> list[Entry]:
    """The entries. Raises BadArchive unless `capture` could have found them and encoding them gives `content` again."""
    try:
        entries = [_entry_of(values) for values in json.loads(content)["entries"]]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise BadArchive("It is not a manifest.") from error
    checker = _Checker(bounds)
    for entry in entries:
        checker.check(entry)
    if encode_manifest(entries) != content:
        raise BadArchive("It has something that is never written, or is written in another way.")
    return entries


def _entry_of(values: list[Any]) -> Entry:
    path, kind, size, digest, epoch = values
    if not (type(path) is type(digest) is str and type(size) is type(epoch) is int):
        raise TypeError("an entry has a field of another type")
    return Entry(cast(str, path), Kind(kind), cast(int, size), cast(str, digest), cast(int, epoch))


class _Checker:
    """What must hold between entries, and of each."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._folders, self._names = {""}, set[str]()
        self._last: tuple[bytes, ...] = ()
        self._bytes = 0

    def check(self, entry: Entry) -> None:
        """Raises BadArchive."""
        if fault := fault_of(entry.path, self._bounds.depth) or self._misfit(entry):
            raise BadArchive(f"The path {entry.path[:300]!a} {fault}.")
        self._last, self._bytes = order_of(entry.path), self._bytes + entry.size
        self._names.add(same_name_of(entry.path))
        if entry.kind is Kind.FOLDER:
            self._folders.add(entry.path)
        if len(self._names) > self._bounds.entries:
            raise BadArchive(f"It has more than {self._bounds.entries} entries.")
        if self._bytes > self._bounds.total_bytes:
            raise BadArchive(f"Its files have more than {self._bounds.total_bytes} bytes together.")

    def _misfit(self, entry: Entry) -> str:
        if order_of(entry.path) <= self._last:
            return "comes twice or out of order"
        if same_name_of(entry.path) in self._names:
            return "differs from another only in case"
        if entry.path.rpartition("/")[0] not in self._folders:
            return "is in a folder that is not there"
        if entry.kind is Kind.FOLDER:
            return "is a folder with content" if (entry.size, entry.digest, entry.epoch) != (0, "", 0) else ""
        if entry.size < 0 or entry.epoch < 1 or not _DIGEST.fullmatch(entry.digest):
            return "has no valid size, digest or epoch"
        return ""
