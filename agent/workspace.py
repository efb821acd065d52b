"""Where a session's files are on this host."""

import shutil

from pilotlight.settings import Settings


class Workspace:
    """The folders of one session under `<home>/sessions/<id>`."""

    def __init__(self, settings: Settings, session_id: str) -> None:
        self.folder = settings.home / "sessions" / session_id
        self.work = self.folder / "work"
        """Bound at /work in the sandbox; everything in it is the runner's."""
        self.log = self.folder / "runner.log"

    def make(self) -> None:
        """Create what is missing, closed to other users."""
        for folder in (self.folder, self.work):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def remove(self) -> None:
        """Delete everything; a missing folder is fine."""
        if self.folder.exists():
            shutil.rmtree(self.folder)
