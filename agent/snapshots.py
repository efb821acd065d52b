"""Snapshots of one session's workspace in the store: a manifest, and the content of the files that it names.

A snapshot has a name, `<epoch>-<SHA-256 of its manifest>`, which the database records (`agent.history`): that alone
says which one is the newest. Content that the snapshot before holds already is not stored again.
"""

import hashlib
import logging
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO, NamedTuple

from agent.objects import ObjectStore
from agent.seen import Seen
from pilotlight.archive import (
    BadArchive,
    Bounds,
    Entry,
    Stored,
    blocks_of,
    build,
    capture,
    decode_manifest,
    encode_manifest,
    folder_at,
    remove_tree,
)
from pilotlight.crashpoints import Point, reach
from pilotlight.errors import FailedPrecondition, PilotlightError

log = logging.getLogger(__name__)
_NAME = re.compile(r"(\d{1,9})-([0-9a-f]{64})")
_MANIFEST_BYTES = 32 << 20


class SnapshotName(NamedTuple):
    """The parts of a name: in which turn's folder of the store the manifest is, and its digest."""

    epoch: int
    digest: str


def parse_name(name: str) -> SnapshotName:
    """Raises ValueError for what is no name."""
    if not (found := _NAME.fullmatch(name)):
        raise ValueError(f"{name[:80]!r} is no name of a snapshot.")
    return SnapshotName(int(found[1]), found[2])


class Snapshots:
    """One turn of a session runs at a time, so one caller writes at a time; a stale one harms nobody."""

    def __init__(self, store: ObjectStore, session: str, seen: Path, bounds: Bounds) -> None:
        self._store, self._session, self._seen, self._bounds = store, session, seen, bounds

    def save(self, work: Path, epoch: int, previous: str | None = None) -> str:
        """Keep the content of `work`, durably; returns the snapshot's name, `previous` when nothing changed.

        Raises FailedPrecondition or ResourceExhausted for what a snapshot cannot hold, Unavailable or OSError without
        the store; no snapshot is changed then.
        """
        former = self._read_or_none(previous) if previous else []
        keeper = _Keeper(self._store, self._session, epoch, former, Seen(self._seen, previous or "", work.parent))
        with folder_at(work) as root:
            captured = capture(root, self._bounds, keeper.keep)
        reach(Point.CONTROL_SNAPSHOT_WRITTEN)
        if captured.skipped:
            log.warning("Left out of the snapshot of %s: %d links or pipes.", self._session, len(captured.skipped))
        if previous and captured.entries == former:
            name = previous
        else:
            digest = self._store.put(self._session, epoch, [encode_manifest(captured.entries)])
            self._store.seal(self._session, epoch)
            name = f"{epoch}-{digest}"
        reach(Point.CONTROL_SNAPSHOT_KEPT)
        keeper.seen.keep(name)
        return name

    def restore(self, work: Path, name: str) -> None:
        """Make `work` from a snapshot, in place of what is there.

        Raises FailedPrecondition when the snapshot is damaged, Unavailable or OSError; `work` is as it was then.
        """
        try:
            entries = self._read(name)
            with folder_at(work.parent) as parent:
                _remove_leftovers(parent, work.name)
                build(entries, parent, work.name, self._open, replace=True)
        except BadArchive as error:
            raise self._damaged(name, error) from error

    def entries(self, name: str) -> list[Entry]:
        """What a snapshot holds. Raises FailedPrecondition when its manifest is damaged, Unavailable, OSError."""
        try:
            return self._read(name)
        except BadArchive as error:
            raise self._damaged(name, error) from error

    def open_checked(self, name: str, entry: Entry) -> BinaryIO:
        """The content of a file of a snapshot, which the caller closes.

        Raises FailedPrecondition when it is missing or damaged, Unavailable, OSError.
        """
        try:
            file = self._open(entry)
        except FileNotFoundError as error:
            raise self._damaged(name, BadArchive(f"The content of {entry.path!a} is missing.")) from error
        if _digest_of(iter(lambda: file.read(1 << 20), b"")) != entry.digest:
            file.close()
            raise self._damaged(name, BadArchive(f"The content of {entry.path!a} is not what was stored."))
        file.seek(0)
        return file

    def sweep(self, kept: set[str], epoch: int) -> int:
        """Remove what no snapshot of `kept` needs; returns how much was removed.

        Only what was stored before `epoch`, which must be the session's epoch at a moment when the database knew
        `kept` and nothing newer. So nothing that a snapshot may ever refer to is removed, however late this comes to
        it: later turns store into folders of their own, and take from earlier ones only what the newest of `kept`
        holds. Raises FailedPrecondition, with nothing removed, when a manifest of `kept` is damaged.
        """
        wanted: set[tuple[int, str]] = set()
        for name in kept:
            epoch_of, digest = parse_name(name)
            wanted |= {(epoch_of, digest), *((entry.epoch, entry.digest) for entry in self.entries(name))}
        rubbish = [place for place in self._store.places(self._session) if place[0] < epoch and place not in wanted]
        for place in rubbish:
            self._store.discard(self._session, *place)
        return len(rubbish)

    def discard_all(self) -> None:
        """Remove all snapshots of a session that was deleted."""
        self._store.discard_all(self._session)

    def _open(self, entry: Entry) -> BinaryIO:
        return self._store.open(self._session, entry.epoch, entry.digest)

    def _read(self, name: str) -> list[Entry]:
        epoch, digest = parse_name(name)
        try:
            with self._store.open(self._session, epoch, digest) as file:
                content = file.read(_MANIFEST_BYTES)
        except FileNotFoundError as error:
            raise BadArchive("Its manifest is missing.") from error
        if hashlib.sha256(content).hexdigest() != digest:
            raise BadArchive("Its manifest is not what was stored.")
        return decode_manifest(content, self._bounds)

    def _read_or_none(self, name: str) -> list[Entry]:
        """A damaged snapshot is no reason to take no new one: that then holds everything itself."""
        try:
            return self._read(name)
        except PilotlightError as error:
            log.warning("The snapshot %s of %s cannot be built upon: %s", name[:20], self._session, error.message)
            return []

    def _damaged(self, name: str, error: BadArchive) -> FailedPrecondition:
        epoch, digest = parse_name(name)
        place = self._store.locate(self._session, epoch, digest)
        return FailedPrecondition(
            f"The snapshot {name[:20]} of this session's workspace is damaged: {error.message}",
            hint=f"Put {place}, and what it names beside it, back from a backup of the workspace store, then retry. "
            "An older snapshot is never taken in its place.",
        )


class _Keeper:
    """Stores the content of files, unless the snapshot before has it at the same path."""

    def __init__(self, store: ObjectStore, session: str, epoch: int, former: list[Entry], seen: Seen) -> None:
        self._store, self._session, self._epoch = store, session, epoch
        self._former = {entry.path: entry for entry in former}
        self.seen = seen

    def keep(self, path: str, descriptor: int, info: os.stat_result) -> Stored:
        former = self._former.get(path)
        unchanged = (
            former is not None
            and former.size == info.st_size
            and (
                self.seen.is_unchanged(path, info)
                or _digest_of(blocks_of(path, descriptor, info.st_size)) == former.digest
            )
        )
        self.seen.add(path, info)
        if former is not None and unchanged:
            return Stored(former.digest, former.epoch)
        blocks = blocks_of(path, descriptor, info.st_size)
        return Stored(self._store.put(self._session, self._epoch, blocks), self._epoch)


def _digest_of(blocks: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for block in blocks:
        digest.update(block)
    return digest.hexdigest()


def _remove_leftovers(parent: int, name: str) -> None:
    """What a killed control process left of an earlier restore."""
    for entry in os.listdir(parent):
        if entry.startswith(f".{name}.") and entry.endswith(".part"):
            remove_tree(entry, parent)
