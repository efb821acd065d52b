"""The workspace store: content of files by its SHA-256, in a folder of this machine or behind any fsspec URL.

Layout: `<session>/<epoch>/<SHA-256>`. What a turn stores goes into a folder of its own, named by its epoch: so what a
concurrent or a later turn writes is never among what may be removed.
"""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, Protocol
from urllib.parse import urlsplit
from urllib.request import url2pathname

from agent.objects.folder import FolderStore
from agent.objects.remote import RemoteStore
from pilotlight.settings import Settings

__all__ = ["FolderStore", "ObjectStore", "RemoteStore", "open_store"]


class ObjectStore(Protocol):
    """Objects that are written once. Every method raises OSError or Unavailable when the store cannot be reached."""

    def put(self, session: str, epoch: int, blocks: Iterable[bytes]) -> str:
        """Keep content; returns its SHA-256 in hex, which is its name. Nothing of a broken-off one counts."""
        ...

    def seal(self, session: str, epoch: int) -> None:
        """All that was put there is durable when this returns."""
        ...

    def open(self, session: str, epoch: int, name: str) -> BinaryIO:
        """The content, unchecked, which the caller closes. Raises FileNotFoundError."""
        ...

    def places(self, session: str) -> Iterator[tuple[int, str]]:
        """Epoch and name of everything of a session, what a crash left behind included."""
        ...

    def discard(self, session: str, epoch: int, name: str) -> None:
        """Remove one; a missing one is fine."""
        ...

    def discard_all(self, session: str) -> None:
        """Remove everything of a session; nothing there is fine."""
        ...

    def locate(self, session: str, epoch: int, name: str) -> str:
        """For people: where it is."""
        ...


def open_store(settings: Settings) -> ObjectStore:
    """The store that the settings name; a process opens each once.

    Raises FailedPrecondition for a URL that no installed package serves.
    """
    return _open(settings.workspace_store or str(settings.home / "workspaces"))


@lru_cache(maxsize=16)
def _open(place: str) -> ObjectStore:
    if place.startswith("file://"):
        return FolderStore(Path(url2pathname(urlsplit(place).path)))
    return RemoteStore(place) if "://" in place else FolderStore(Path(place).expanduser().absolute())
