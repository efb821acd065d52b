"""Snapshots of one session's workspace in a folder of the host: `<number>-<SHA-256>.tar.gz`, the newest few kept.

A small interface on purpose (save, restore): another store may take its place.
"""

import hashlib
import logging
import os
import re
from pathlib import Path
from typing import BinaryIO

from pilotlight.archive import BadArchive, Bounds, folder_at, pack, remove_tree, unpack
from pilotlight.crashpoints import Point, reach
from pilotlight.errors import FailedPrecondition

log = logging.getLogger(__name__)
_NAME = re.compile(r"(\d{8})-([0-9a-f]{64})\.tar\.gz")
_PART = "new.part"


class Snapshots:
    """One turn of a session runs at a time, so one caller uses this at a time."""

    def __init__(self, folder: Path, kept: int, bounds: Bounds) -> None:
        self._folder, self._kept, self._bounds = folder, kept, bounds

    def save(self, work: Path) -> bool:
        """Keep the content of `work`, durably; False when the newest snapshot holds just that.

        Raises FailedPrecondition or ResourceExhausted for what a snapshot cannot hold, OSError; nothing changes then.
        """
        self._folder.mkdir(mode=0o700, exist_ok=True)
        part, newest = self._folder / _PART, self._newest()
        try:
            digest = self._write(work, part)
            reach(Point.CONTROL_SNAPSHOT_WRITTEN)
            if newest and newest[1] == digest:
                return False
            number = newest[0] + 1 if newest else 1
            part.replace(self._folder / f"{number:08d}-{digest}.tar.gz")
        finally:
            part.unlink(missing_ok=True)
        with folder_at(self._folder) as folder:
            os.fsync(folder)
        reach(Point.CONTROL_SNAPSHOT_KEPT)
        for _, _, old in self._all()[: -self._kept]:
            old.unlink()
        return True

    def restore(self, work: Path) -> bool:
        """Make `work` from the newest snapshot; False when there is none.

        Raises FailedPrecondition when that is damaged: an older one is never taken in its place unasked.
        """
        newest = self._newest()
        if newest is None:
            return False
        _, digest, path = newest
        try:
            with folder_at(work.parent) as parent, path.open("rb") as file:
                _remove_leftovers(parent, work.name)
                if hashlib.file_digest(file, "sha256").hexdigest() != digest:
                    raise BadArchive("Its content is not what was stored.")
                file.seek(0)
                unpack(file, parent, work.name, self._bounds)
        except BadArchive as error:
            raise FailedPrecondition(
                f"The workspace is missing, and its newest snapshot {path.name[:20]} is damaged: {error.message}",
                hint=f"Put {'/'.join(path.parts[-4:])} back from a backup of Pilotlight's home. Or remove it: the "
                "snapshot before it is taken then, and the session goes on from there. Then retry.",
            ) from error
        return True

    def _write(self, work: Path, part: Path) -> str:
        with folder_at(work) as root, part.open("wb") as file:
            sink = _Hashing(file)
            packed = pack(root, sink, self._bounds)
            file.flush()
            os.fsync(file.fileno())
        if packed.skipped:
            log.warning("Left out of the snapshot of %s: %d links or pipes.", work.parent.name, len(packed.skipped))
        return sink.digest.hexdigest()

    def _newest(self) -> tuple[int, str, Path] | None:
        return next(reversed(self._all()), None)

    def _all(self) -> list[tuple[int, str, Path]]:
        """Oldest first."""
        if not self._folder.exists():
            return []
        found = [(match, path) for path in self._folder.iterdir() if (match := _NAME.fullmatch(path.name))]
        return sorted((int(match[1]), match[2], path) for match, path in found)


class _Hashing:
    """A file that also hashes what is written."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self.digest = file, hashlib.sha256()

    def write(self, block: bytes) -> None:
        self.digest.update(block)
        self._file.write(block)


def _remove_leftovers(parent: int, name: str) -> None:
    """What a killed control process left of an earlier restore."""
    for entry in os.listdir(parent):
        if entry.startswith(f".{name}.") and entry.endswith(".part"):
            remove_tree(entry, parent)
