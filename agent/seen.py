"""Which files of a workspace were as they are when the last snapshot was taken, so that they need not be read again.

A hint beside the workspace, where the sandbox cannot write; without it everything is read, and the result is the same.
"""

import json
import logging
import os
import secrets
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)
_RACY_NANOSECONDS = 2_000_000_000
"""A file that changed this shortly before the snapshot may change again with the same time: clocks of file systems tick
as coarsely as that."""


class Seen:
    """The status of each file at two snapshots: the one named `snapshot`, and the one that is being taken."""

    def __init__(self, path: Path, snapshot: str, beside: Path) -> None:
        self._path = path
        self._before = _load(path, snapshot)
        self._now: dict[str, list[int]] = {}
        self._oldest_racy = _time_of(beside) - _RACY_NANOSECONDS

    def is_unchanged(self, path: str, info: os.stat_result) -> bool:
        """Whether the file is the same, in the same state. Its change time cannot be set by whoever writes it."""
        return self._before.get(path) == _mark(info)

    def add(self, path: str, info: os.stat_result) -> None:
        """Remember the status of a file before its content is read."""
        if info.st_ctime_ns < self._oldest_racy:
            self._now[path] = _mark(info)

    def keep(self, snapshot: str) -> None:
        """Write it down as that of `snapshot`."""
        part = self._path.with_name(f".{self._path.name}.part")
        part.write_text(json.dumps({"snapshot": snapshot, "files": self._now}))
        part.replace(self._path)


def _mark(info: os.stat_result) -> list[int]:
    return [info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns]


def _load(path: Path, snapshot: str) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text())
        return document["files"] if snapshot and document["snapshot"] == snapshot else {}
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError) as error:  # cut off by a crash: only time is lost
        log.warning("%s is not readable, all files are read again: %s", path, error)
        return {}


def _time_of(folder: Path) -> int:
    """Now, by the clock that stamps the files of this file system."""
    probe = folder / f".{secrets.token_hex(8)}.now"
    try:
        probe.touch()
        return probe.stat().st_ctime_ns
    finally:
        probe.unlink(missing_ok=True)
