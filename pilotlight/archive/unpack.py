"""Read an archive into a new folder: aside first, synced, then renamed into place; or refuse and leave nothing."""

import os
import secrets
from typing import BinaryIO

from pilotlight.archive.bounds import BadArchive, Bounds
from pilotlight.archive.header import BLOCK, Entry, decode_header
from pilotlight.archive.inflate import Inflater
from pilotlight.archive.names import fault_of, order_of, same_name_of
from pilotlight.archive.tree import folder_at, open_folder, remove_tree
from pilotlight.errors import AlreadyExists

_CHUNK = 1 << 18
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_END = bytes(BLOCK)


def unpack(source: BinaryIO, parent: int, name: str, bounds: Bounds) -> None:
    """Make the folder `name` in the folder open as `parent`, with files of mode 0600 and folders of mode 0700.

    Raises BadArchive, with nothing left behind, AlreadyExists when there is a `name`, OSError.
    """
    if _exists(name, parent):
        raise AlreadyExists(f"There is a {name!a} already; nothing was unpacked.")
    aside = f".{name}.{secrets.token_hex(8)}.part"
    os.mkdir(aside, 0o700, dir_fd=parent)
    try:
        with folder_at(aside, parent) as root:
            _Unpacker(Inflater(source), root, bounds).run()
            os.fsync(root)
        os.rename(aside, name, src_dir_fd=parent, dst_dir_fd=parent)
    except BaseException:
        remove_tree(aside, parent)
        raise
    os.fsync(parent)


class _Unpacker:
    """`_open` are the folders on the way to the last entry, each with the descriptor it was created under."""

    def __init__(self, source: Inflater, root: int, bounds: Bounds) -> None:
        self._source, self._bounds = source, bounds
        self._open: list[tuple[str, int]] = [("", root)]
        self._last: tuple[bytes, ...] = ()
        self._names: set[str] = set()
        self._bytes = 0

    def run(self) -> None:
        try:
            while (block := self._source.read(BLOCK)) != _END:
                self._add(decode_header(block))
            if self._source.read(BLOCK) != _END:
                raise BadArchive("A single empty block is not the end.")
            self._source.finish()
        finally:
            self._close_until("")

    def _add(self, entry: Entry) -> None:
        self._check(entry)
        above, _, name = entry.path.rpartition("/")
        self._close_until(above)
        open_path, folder = self._open[-1]
        if open_path != above:
            raise BadArchive(f"The folder of {entry.path!a} is not in the archive.")
        if entry.folder:
            os.mkdir(name, 0o700, dir_fd=folder)
            self._open.append((entry.path, open_folder(name, folder)))
        else:
            self._write(name, folder, entry)

    def _check(self, entry: Entry) -> None:
        if fault := fault_of(entry.path, self._bounds.depth):
            raise BadArchive(f"The path {entry.path!a} {fault}.")
        if (order := order_of(entry.path)) <= self._last:
            raise BadArchive(f"{entry.path!a} comes twice or out of order.")
        if (same := same_name_of(entry.path)) in self._names:
            raise BadArchive(f"{entry.path!a} differs from another only in case.")
        self._last, self._bytes = order, self._bytes + entry.size
        self._names.add(same)
        if len(self._names) > self._bounds.entries:
            raise BadArchive(f"It has more than {self._bounds.entries} entries.")
        if self._bytes > self._bounds.total_bytes:
            raise BadArchive(f"Its files have more than {self._bounds.total_bytes} bytes together.")

    def _write(self, name: str, folder: int, entry: Entry) -> None:
        with os.fdopen(os.open(name, _NEW_FILE, 0o600, dir_fd=folder), "wb", buffering=0) as file:
            left = entry.size
            while left:
                block = self._source.read(min(left, _CHUNK))
                left -= len(block)
                _write_all(file.fileno(), block)
            os.fsync(file.fileno())
        if any(self._source.read(-entry.size % BLOCK)):
            raise BadArchive(f"What fills up the last block of {entry.path!a} is not zero.")

    def _close_until(self, above: str) -> None:
        """Close folders until the innermost open one contains `above`."""
        while (path := self._open[-1][0]) and above != path and not above.startswith(path + "/"):
            descriptor = self._open.pop()[1]
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def _write_all(descriptor: int, block: bytes) -> None:
    view = memoryview(block)
    while view:
        view = view[os.write(descriptor, view) :]


def _exists(name: str, parent: int) -> bool:
    try:
        os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True
