"""Make a folder from a manifest: aside first, synced, then renamed into place; or refuse and leave nothing."""

import hashlib
import os
import secrets
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import BinaryIO

from pilotlight.archive.bounds import BadArchive
from pilotlight.archive.manifest import Entry, Kind
from pilotlight.archive.tree import folder_at, open_folder, remove_tree
from pilotlight.errors import AlreadyExists

_CHUNK = 1 << 20
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

OpenContent = Callable[[Entry], BinaryIO]
"""The stored content of a file, which `build` closes. Raises FileNotFoundError."""


def build(entries: Iterable[Entry], parent: int, name: str, content: OpenContent, *, replace: bool = False) -> None:
    """Make the folder `name` in the folder open as `parent`; `entries` are those of a decoded manifest.

    Raises BadArchive for content that is missing or not what the manifest says, with nothing left behind and nothing
    replaced; AlreadyExists when there is a `name` and `replace` is not given; OSError.
    """
    if not replace and _exists(name, parent):
        raise AlreadyExists(f"There is a {name!a} already; nothing was restored.")
    aside = f".{name}.{secrets.token_hex(8)}.part"
    os.mkdir(aside, 0o700, dir_fd=parent)
    try:
        with folder_at(aside, parent) as root, _Builder(root, content) as builder:
            for entry in entries:
                builder.add(entry)
        _put_in_place(aside, name, parent)
    except BaseException:
        remove_tree(aside, parent)
        raise
    os.fsync(parent)


def _put_in_place(aside: str, name: str, parent: int) -> None:
    if not _exists(name, parent):
        os.rename(aside, name, src_dir_fd=parent, dst_dir_fd=parent)
        return
    former = f".{name}.{secrets.token_hex(8)}.part"
    os.rename(name, former, src_dir_fd=parent, dst_dir_fd=parent)
    os.rename(aside, name, src_dir_fd=parent, dst_dir_fd=parent)
    remove_tree(former, parent)


class _Builder:
    """`_open` are the folders on the way to the last entry, each with the descriptor it was created under."""

    def __init__(self, root: int, content: OpenContent) -> None:
        self._content = content
        self._root = root
        self._open: list[tuple[str, int]] = [("", root)]

    def __enter__(self) -> "_Builder":
        return self

    def __exit__(self, *_error: object) -> None:
        self._close_until("")
        os.fsync(self._root)

    def add(self, entry: Entry) -> None:
        above, _, name = entry.path.rpartition("/")
        self._close_until(above)
        folder = self._open[-1][1]
        if entry.kind is Kind.FOLDER:
            os.mkdir(name, 0o700, dir_fd=folder)
            self._open.append((entry.path, open_folder(name, folder)))
            return
        mode = 0o700 if entry.kind is Kind.PROGRAM else 0o600
        with os.fdopen(os.open(name, _NEW_FILE, mode, dir_fd=folder), "wb") as file:
            self._fill(file, entry)
            file.flush()
            os.fsync(file.fileno())

    def _fill(self, file: BinaryIO, entry: Entry) -> None:
        digest, left = hashlib.sha256(), entry.size
        with ExitStack() as stack:
            try:
                source = stack.enter_context(self._content(entry))
            except FileNotFoundError as error:
                raise BadArchive(f"The content of {entry.path!a} is missing.") from error
            while left >= 0 and (block := source.read(min(left + 1, _CHUNK))):
                digest.update(block)
                left -= len(block)
                file.write(block)
        if left or digest.hexdigest() != entry.digest:
            raise BadArchive(f"The content of {entry.path!a} is not what was stored.")

    def _close_until(self, above: str) -> None:
        """Close folders until the innermost open one contains `above`."""
        while (path := self._open[-1][0]) and above != path and not above.startswith(path + "/"):
            descriptor = self._open.pop()[1]
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def _exists(name: str, parent: int) -> bool:
    try:
        os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True
