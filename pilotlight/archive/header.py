"""The 512-byte ustar header of an entry: every entry has exactly one encoding, and nothing else is decoded."""

import re
import struct
from typing import NamedTuple

from pilotlight.archive.bounds import BadArchive

BLOCK = 512
_LAYOUT = struct.Struct("100s8s8s8s12s12s8sc100s6s2s32s32s8s8s155s12x")
_NAME, _PREFIX = 100, 155
_SUM = slice(148, 156)
_SIZE = re.compile(rb"[0-7]{11}\0")
_FILE, _FOLDER = b"0", b"5"
_KINDS = {
    b"\0": "a file of the format before POSIX", b"1": "a hard link", b"2": "a symbolic link", b"3": "a device",
    b"4": "a device", b"6": "a FIFO", b"7": "a contiguous file", b"g": "a pax header", b"x": "a pax header",
    b"L": "a GNU long name", b"K": "a GNU long link", b"S": "a sparse file", b"D": "a GNU directory dump",
    b"M": "a continuation of another volume", b"N": "a GNU long name of old", b"V": "a volume label",
}  # fmt: skip


class Entry(NamedTuple):
    """A regular file of `size` bytes, or a folder."""

    path: str
    folder: bool
    size: int = 0


def encode_header(entry: Entry) -> bytes:
    """The header; owner and time are zero, the mode says only what kind it is. Raises ValueError for a long path."""
    prefix, name = _split(entry.path.encode())
    zero, mode, kind = b"0000000\0", b"0000700\0" if entry.folder else b"0000600\0", _FOLDER if entry.folder else _FILE
    size, time, blank = b"%011o\0" % entry.size, b"%011o\0" % 0, b" " * 8
    block = _LAYOUT.pack(
        name, mode, zero, zero, size, time, blank, kind, b"", b"ustar\0", b"00", b"", b"", b"", b"", prefix
    )
    return block[: _SUM.start] + b"%06o\0 " % sum(block) + block[_SUM.stop :]


def decode_header(block: bytes) -> Entry:
    """The entry that `block` encodes. Raises BadArchive unless encoding it again gives the same bytes."""
    name, _, _, _, size, _, checksum, kind, _, magic, version, _, _, _, _, prefix = _LAYOUT.unpack(block)
    if checksum != b"%06o\0 " % (sum(block) - sum(checksum) + 8 * 0x20):
        raise BadArchive("A header does not match its checksum.")
    if (magic, version) != (b"ustar\0", b"00"):
        raise BadArchive("A header is not ustar.")
    path = _decode(b"/".join(part for part in (prefix.rstrip(b"\0"), name.rstrip(b"\0")) if part))
    if kind not in (_FILE, _FOLDER):
        raise BadArchive(f"{path!a} is {_KINDS.get(kind, f'of the unknown kind {kind!r}')}.")
    if not _SIZE.fullmatch(size):
        raise BadArchive(f"The size of {path!a} is not eleven octal digits.")
    entry = Entry(path, kind == _FOLDER, int(size[:-1], 8))
    if entry.folder and entry.size:
        raise BadArchive(f"The folder {path!a} has a size.")
    if not path or _encode_or_none(entry) != block:
        raise BadArchive(f"The header of {path!a} has a field that is never set, or one that is set in another way.")
    return entry


def _split(path: bytes) -> tuple[bytes, bytes]:
    if len(path) <= _NAME:
        return b"", path
    cut = path.rfind(b"/", 0, _PREFIX + 1)
    if cut <= 0 or len(path) - cut - 1 > _NAME:
        raise ValueError("the path fits no ustar header")
    return path[:cut], path[cut + 1 :]


def _encode_or_none(entry: Entry) -> bytes | None:
    try:
        return encode_header(entry)
    except ValueError:
        return None


def _decode(name: bytes) -> str:
    try:
        return name.decode()
    except UnicodeDecodeError as error:
        raise BadArchive(f"The name {name!r} is not UTF-8.") from error
