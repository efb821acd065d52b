"""What the user may see of a session's files: from this host, or from the newest snapshot where they are not here."""

import logging
import os
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from sqlmodel import Session

from agent.artifacts import check_path, is_visible, list_artifacts, no_artifact, open_artifact
from agent.history import newest_snapshot
from agent.tables import SnapshotRow
from agent.wire import ArtifactView
from agent.workspace import Workspace
from pilotlight.archive import Entry, Kind
from pilotlight.errors import PilotlightError
from pilotlight.settings import Settings

log = logging.getLogger(__name__)


class OpenFile(NamedTuple):
    """An open file; whoever gets it closes it."""

    file: BinaryIO
    size: int


class Files:
    """The files of one session, as the database knew at one moment where they are."""

    def __init__(self, settings: Settings, session_id: str, snapshot: SnapshotRow | None) -> None:
        self._workspace = Workspace(settings, session_id)
        self._snapshot = None if self._workspace.work.exists() else snapshot

    def list(self) -> list[ArtifactView]:
        """All visible files by path, at most 1000. Raises FailedPrecondition for a damaged snapshot, Unavailable."""
        if self._snapshot is None:
            return list_artifacts(self._workspace.work)
        time = self._snapshot.time
        return [
            ArtifactView(path=entry.path, size_bytes=str(entry.size), update_time=time) for entry in self._entries()
        ]

    def open(self, path: str) -> OpenFile:
        """Open a visible file. Raises InvalidArgument, NotFound, and as `list` does."""
        if self._snapshot is None:
            artifact = open_artifact(self._workspace.work, path)
            return OpenFile(os.fdopen(artifact.descriptor, "rb", buffering=0), artifact.size)
        check_path(path)
        entry = next((entry for entry in self._entries() if entry.path == path), None)
        if entry is None:
            raise no_artifact(path)
        return OpenFile(self._workspace.snapshots.open_checked(self._snapshot.name, entry), entry.size)

    def _entries(self) -> Iterator[Entry]:
        if self._snapshot is not None and self._snapshot.name:
            for entry in self._workspace.snapshots.entries(self._snapshot.name):
                if entry.kind is not Kind.FOLDER and is_visible(entry.path):
                    yield entry


def files_of(db: Session, settings: Settings, session_id: str) -> Files:
    """Where the files of a session are now."""
    return Files(settings, session_id, newest_snapshot(db, session_id))


def summarize_files(db: Session, settings: Settings, session_id: str) -> list[ArtifactView] | None:
    """The visible files; None while the store does not tell: a session is shown, and answered, without it too."""
    try:
        return files_of(db, settings, session_id).list()
    except (PilotlightError, OSError) as error:
        log.warning("The artifacts of %s cannot be listed: %s", session_id, error)
        return None
