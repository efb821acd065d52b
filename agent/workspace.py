"""Where a session's files are on this host."""

import secrets

from agent.snapshots import Snapshots
from pilotlight.archive import Bounds, folder_at, remove_tree
from pilotlight.errors import FailedPrecondition
from pilotlight.settings import Settings


class Workspace:
    """The folders of one session under `<home>/sessions/<id>`."""

    def __init__(self, settings: Settings, session_id: str) -> None:
        self.folder = settings.home / "sessions" / session_id
        self.work = self.folder / "work"
        """Bound at /work in the sandbox; everything in it is the runner's."""
        self.log = self.folder / "runner.log"
        bounds = Bounds(total_bytes=settings.snapshot_bytes)
        self.snapshots = Snapshots(self.folder / "snapshots", settings.snapshots_kept, bounds)

    def make(self) -> None:
        """Create what is missing, closed to other users."""
        for folder in (self.folder, self.work):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def prepare(self, turn: int, resident: bool = True) -> None:
        """Make it ready for a turn: a missing work folder is restored from the newest snapshot.

        One that is not `resident` is missing, too: the last turn was on another machine, or may still be writing here.

        Raises FailedPrecondition when that is damaged, or when there is none although there were turns before.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not resident:
            self._put_aside()
        if self.work.exists() or self.snapshots.restore(self.work):
            return
        if turn > 1:
            raise FailedPrecondition(
                "The workspace of this session is missing, and there is no snapshot of it.",
                hint="Put the session's folder back from a backup of Pilotlight's home and retry, or start a new "
                "session. What was trained or deployed is still on the platform.",
            )
        self.make()

    def _put_aside(self) -> None:
        """A process that still writes goes on in the folder that it has, under a name that nobody else looks at."""
        if self.work.exists():
            old = f".{self.work.name}.{secrets.token_hex(4)}.part"
            self.work.rename(self.folder / old)
            with folder_at(self.folder) as folder:
                remove_tree(old, folder)

    def remove(self) -> None:
        """Delete everything, however the sandbox left it; a missing folder is fine."""
        if not self.folder.exists():
            return
        with folder_at(self.folder.parent) as parent:
            remove_tree(self.folder.name, parent)
