"""The store in a folder of this machine, or on a file system that several machines share."""

import hashlib
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from pilotlight.archive import folder_at


class FolderStore:
    """Files are synced, then renamed to their digest: half a file never has its name."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def put(self, session: str, epoch: int, blocks: Iterable[bytes]) -> str:
        """Keep content under its SHA-256, durable once `seal` has returned. Raises OSError and what `blocks` raises."""
        folder = self._folder(session, epoch)
        self.root.parent.mkdir(parents=True, exist_ok=True)
        for level in (self.root, folder.parent, folder):  # `parents` would leave the upper ones open to others
            level.mkdir(mode=0o700, exist_ok=True)
        part, digest = folder / f".{secrets.token_hex(8)}.part", hashlib.sha256()
        try:
            with part.open("xb") as file:
                for block in blocks:
                    digest.update(block)
                    file.write(block)
                file.flush()
                os.fsync(file.fileno())
            part.replace(folder / digest.hexdigest())
        finally:
            part.unlink(missing_ok=True)
        return digest.hexdigest()

    def seal(self, session: str, epoch: int) -> None:
        """Sync the names of what was put, and of the folders on the way to it."""
        folder = self._folder(session, epoch)
        for level in (folder, folder.parent, self.root):
            with folder_at(level) as descriptor:
                os.fsync(descriptor)

    def open(self, session: str, epoch: int, name: str) -> BinaryIO:
        """The file, open. Raises FileNotFoundError."""
        return (self._folder(session, epoch) / name).open("rb")

    def places(self, session: str) -> Iterator[tuple[int, str]]:
        """Epoch and name of every file of a session, parts of broken-off ones included."""
        for folder in _list(self.root / session):
            if folder.name.isdecimal():
                yield from ((int(folder.name), path.name) for path in _list(folder))

    def discard(self, session: str, epoch: int, name: str) -> None:
        """Remove a file, and its folder with the last one."""
        folder = self._folder(session, epoch)
        (folder / name).unlink(missing_ok=True)
        with suppress(OSError):  # there are others in it
            folder.rmdir()

    def discard_all(self, session: str) -> None:
        """Remove the session's folder."""
        with suppress(FileNotFoundError):
            shutil.rmtree(self.root / session)

    def locate(self, session: str, epoch: int, name: str) -> str:
        """Its path."""
        return str(self._folder(session, epoch) / name)

    def _folder(self, session: str, epoch: int) -> Path:
        return self.root / session / str(epoch)


def _list(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []
