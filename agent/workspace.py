"""Where a session's files are on this host."""

import secrets

from agent.objects import open_store
from agent.snapshots import Snapshots
from pilotlight.archive import Bounds, folder_at, remove_tree
from pilotlight.errors import FailedPrecondition
from pilotlight.settings import Settings


class Workspace:
    """The folders of one session under `<home>/sessions/<id>`, and its snapshots in the workspace store."""

    def __init__(self, settings: Settings, session_id: str) -> None:
        self.folder = settings.home / "sessions" / session_id
        self.work = self.folder / "work"
        """Bound at /work in the sandbox; everything in it is the runner's."""
        self.log = self.folder / "runner.log"
        bounds = Bounds(total_bytes=settings.snapshot_bytes)
        self.snapshots = Snapshots(open_store(settings), session_id, self.folder / "seen.json", bounds)

    def make(self) -> None:
        """Create what is missing, closed to other users."""
        for folder in (self.folder, self.work):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def prepare(self, turn: int, snapshot: str | None, resident: bool = True) -> None:
        """Make it ready for a turn. `snapshot` is what the last ended turn recorded: a name, an empty one when it could
        take none, None when no turn has ended. `resident`: the files on this host are those of the last turn, and
        nobody writes them now.

        Else the snapshot is restored. Raises FailedPrecondition when that is damaged, or when there is none although
        there were turns before; Unavailable or OSError without the store.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if resident and self.work.exists():
            return
        if snapshot:
            self.snapshots.restore(self.work, snapshot)
        elif turn > 1 or snapshot is not None:
            raise _lost(resident)
        else:
            self._make_anew()

    def remove(self) -> None:
        """Delete everything on this host, however the sandbox left it; a missing folder is fine."""
        if not self.folder.exists():
            return
        with folder_at(self.folder.parent) as parent:
            remove_tree(self.folder.name, parent)

    def _make_anew(self) -> None:
        if self.work.exists():  # of a turn that was taken over; a process that still writes goes on under this name
            aside = f".{self.work.name}.{secrets.token_hex(8)}.part"
            self.work.rename(self.folder / aside)
            with folder_at(self.folder) as parent:
                remove_tree(aside, parent)
        self.make()


def _lost(resident: bool) -> FailedPrecondition:
    if resident:
        return FailedPrecondition(
            "The workspace of this session is missing, and there is no snapshot of it.",
            hint="Put the session's folder back from a backup of Pilotlight's home and retry, or start a new "
            "session. What was trained or deployed is still on the platform.",
        )
    return FailedPrecondition(
        "The last turn of this session ran on another machine, and there is no snapshot of what it left.",
        hint="Let that machine take the session's next turn, or start a new session; the session's error events say "
        "why no snapshot could be taken. What was trained or deployed is still on the platform.",
    )
