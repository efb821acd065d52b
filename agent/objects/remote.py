"""The store behind an fsspec URL: an object store such as s3:// or gs://, whose uploads appear whole or not at all."""

import hashlib
import shutil
import tempfile
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO, cast

import fsspec

from pilotlight.errors import FailedPrecondition, PilotlightError, Unavailable

_IN_MEMORY = 8 << 20
"""A larger file is spooled to the disk until its digest, and so its name, is known."""


class RemoteStore:
    """Credentials come from the usual environment of the backend's package, never from the URL."""

    def __init__(self, url: str) -> None:
        self._scheme = url.partition("://")[0]
        try:
            # Another machine writes too: a cached listing would hide what it wrote.
            files, root = fsspec.url_to_fs(url, use_listings_cache=False)
        except (ImportError, ValueError) as error:
            raise FailedPrecondition(
                f"The workspace store {self._scheme}:// cannot be opened: {error}",
                hint="Install the fsspec package for it, such as s3fs or gcsfs, or change PILOTLIGHT_WORKSPACE_STORE.",
            ) from error
        self._files: Any = files
        self._root = str(root).rstrip("/")

    def put(self, session: str, epoch: int, blocks: Iterable[bytes]) -> str:
        """Upload content under its SHA-256. Raises Unavailable and what `blocks` raises."""
        digest = hashlib.sha256()
        with tempfile.SpooledTemporaryFile(_IN_MEMORY) as spool:
            for block in blocks:
                digest.update(block)
                spool.write(block)
            spool.seek(0)
            with self._reaching(), self._files.open(self._key(session, epoch, digest.hexdigest()), "wb") as target:
                shutil.copyfileobj(spool, target, 1 << 20)
        return digest.hexdigest()

    def seal(self, session: str, epoch: int) -> None:
        """An object store acknowledges what is durable already."""

    def open(self, session: str, epoch: int, name: str) -> BinaryIO:
        """The object, downloaded: an error of the backend comes here, not while it is read.

        Raises FileNotFoundError, Unavailable.
        """
        spool = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 - the caller closes it
        try:
            with self._reaching(), self._files.open(self._key(session, epoch, name), "rb") as source:
                shutil.copyfileobj(source, spool, 1 << 20)
            spool.seek(0)
        except BaseException:
            spool.close()
            raise
        return cast(BinaryIO, spool)

    def places(self, session: str) -> Iterator[tuple[int, str]]:
        """Epoch and name of every object of a session."""
        with self._reaching(), suppress(FileNotFoundError):
            for key in sorted(self._files.find(f"{self._root}/{session}")):
                epoch, _, name = str(key).rpartition(f"/{session}/")[2].partition("/")
                if epoch.isdecimal():
                    yield int(epoch), name

    def discard(self, session: str, epoch: int, name: str) -> None:
        """Remove an object."""
        with self._reaching(), suppress(FileNotFoundError):
            self._files.rm_file(self._key(session, epoch, name))

    def discard_all(self, session: str) -> None:
        """Remove all objects of a session."""
        with self._reaching(), suppress(FileNotFoundError):
            self._files.rm(f"{self._root}/{session}", recursive=True)

    def locate(self, session: str, epoch: int, name: str) -> str:
        """Its URL."""
        return f"{self._scheme}://{self._key(session, epoch, name).lstrip('/')}"

    def _key(self, session: str, epoch: int, name: str) -> str:
        return f"{self._root}/{session}/{epoch}/{name}"

    @contextmanager
    def _reaching(self) -> Generator[None]:
        """Every backend fails with errors of its own; all but a missing object mean the same to us."""
        try:
            yield
        except (FileNotFoundError, PilotlightError):
            raise
        except Exception as error:
            raise Unavailable(
                f"The workspace store {self._scheme}:// did not answer: {type(error).__name__}: {error}",
                hint="Check that it is reachable, and the credentials of the control process.",
            ) from error
