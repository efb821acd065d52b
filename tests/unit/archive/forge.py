"""Archives as an attacker would write them: valid but for one thing."""

import gzip
import struct
import zlib
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

from pilotlight.archive import Bounds

END = bytes(1024)
BOUNDS = Bounds(entries=50, total_bytes=100_000, depth=8)
_LAYOUT = struct.Struct("100s8s8s8s12s12s8sc100s6s2s32s32s8s8s155s12s")


def header(name: bytes, **fields: bytes) -> bytes:
    """A header as `pack` writes it, apart from `fields`; the checksum is right unless given."""
    kind = fields.pop("kind", b"0")
    values = {
        "name": name, "mode": b"0000700\0" if kind == b"5" else b"0000600\0", "uid": b"0000000\0",
        "gid": b"0000000\0", "size": b"00000000000\0", "time": b"00000000000\0", "checksum": b" " * 8, "kind": kind,
        "link": b"", "magic": b"ustar\0", "version": b"00", "user": b"", "group": b"", "major": b"", "minor": b"",
        "prefix": b"", "rest": b"",
    } | fields  # fmt: skip
    block = _LAYOUT.pack(*values.values())
    return block if "checksum" in fields else block[:148] + b"%06o\0 " % sum(block) + block[156:]


def file(name: bytes, content: bytes = b"x", **fields: bytes) -> bytes:
    """A file entry with its content, filled up."""
    return header(name, **({"size": b"%011o\0" % len(content)} | fields)) + content + bytes(-len(content) % 512)


def folder(name: bytes, **fields: bytes) -> bytes:
    """A folder entry."""
    return header(name, kind=b"5", **fields)


def other(kind: bytes, link: bytes = b"", name: bytes = b"a", **fields: bytes) -> bytes:
    """An entry of another kind."""
    return header(name, kind=kind, link=link, mode=b"0000600\0", **fields)


def gz(content: bytes) -> bytes:
    """Compressed as `pack` does."""
    return gzip.compress(content, 1, mtime=0)


def tar(*parts: bytes) -> bytes:
    """Entries with their end, compressed."""
    return gz(b"".join(parts) + END)


class Evil(NamedTuple):
    """An archive that has to be refused for the reason that matches `reason`."""

    name: str
    content: bytes | Callable[[], bytes]
    reason: str

    def build(self) -> bytes:
        """Its bytes."""
        return self.content if isinstance(self.content, bytes) else self.content()


def pax(records: bytes, kind: bytes = b"x") -> bytes:
    """A pax header and a file after it."""
    return file(b"PaxHeaders/a", records, kind=kind) + file(b"a")


@cache
def _bomb(size: int) -> bytes:
    deflate = zlib.compressobj(1, zlib.DEFLATED, 31)
    parts = [deflate.compress(header(b"bomb", size=b"%011o\0" % size))]
    parts += [deflate.compress(bytes(1 << 20)) for _ in range(size >> 20)]
    return b"".join([*parts, deflate.compress(END), deflate.flush()])


@cache
def _endless_end() -> bytes:
    deflate = zlib.compressobj(1, zlib.DEFLATED, 31)
    parts = [deflate.compress(bytes(1 << 20)) for _ in range(32)]
    return b"".join([*parts, deflate.flush()])


def _flags(bits: int, more: bytes) -> bytes:
    plain = tar(file(b"a"))
    return plain[:3] + bytes([bits]) + plain[4:10] + more + plain[10:]


_GOOD = tar(file(b"a"))
_DOT, _CHARACTER, _SPACE = "absolute or has an empty or dot", "cannot be shown", "space at an end or a dot last"
_FIELD, _SIZE, _SUM = "a field that is never set", "eleven octal digits", "checksum"

PATHS = [
    Evil("dotdot", tar(file(b"../evil")), _DOT),
    Evil("dotdot-inside", tar(folder(b"d"), file(b"d/../evil")), _DOT),
    Evil("dotdot-last", tar(folder(b"d"), file(b"d/..")), _DOT),
    Evil("dotdot-folder", tar(folder(b"..")), _DOT),
    Evil("dotdot-in-prefix", tar(file(b"e" * 90, prefix=b"../" + b"p" * 90)), _DOT),
    Evil("absolute", tar(file(b"/tmp/pilotlight-evil")), _DOT),
    Evil("absolute-prefix", tar(file(b"e" * 90, prefix=b"/tmp/" + b"p" * 90)), _DOT),
    Evil("double-slash", tar(folder(b"d"), file(b"d//evil")), _DOT),
    Evil("dot", tar(file(b"./evil")), _DOT),
    Evil("dot-alone", tar(folder(b".")), _DOT),
    Evil("trailing-slash", tar(folder(b"d/")), _DOT),
    Evil("newline", tar(file(b"evil\nname")), _CHARACTER),
    Evil("escape-sequence", tar(file(b"evil\x1b[2J")), _CHARACTER),
    Evil("delete-character", tar(file(b"evil\x7f")), _CHARACTER),
    Evil("c1-control", tar(file("evil\x9b2J".encode())), _CHARACTER),
    Evil("right-to-left", tar(file("evil\u202etxt.exe".encode())), _CHARACTER),
    Evil("zero-width", tar(file("ev\u200bil".encode())), _CHARACTER),
    Evil("backslash", tar(file(b"..\\evil")), _CHARACTER),
    Evil("space-last", tar(file(b"evil ")), _SPACE),
    Evil("space-first", tar(file(b" evil")), _SPACE),
    Evil("dot-last", tar(file(b"evil.")), _SPACE),
    Evil("decomposed", tar(file("e\u0301vil".encode())), "normal form C"),
    Evil("not-utf-8", tar(file(b"evil\xff")), "not UTF-8"),
    Evil("overlong-slash", tar(file(b"..\xc0\xafevil")), "not UTF-8"),
    Evil("surrogate", tar(file(b"evil\xed\xa0\x80")), "not UTF-8"),
    Evil("deep", tar(*(folder(b"/".join([b"d"] * n)) for n in range(1, 10))), "more than 8 deep"),
    Evil("component-too-long", tar(file(b"b", prefix=b"a" * 120)), "longer than"),
    Evil("name-field-full", tar(folder(b"d"), file(b"e" * 100, prefix=b"d" * 155)), "longer than"),
    Evil("empty-name", tar(file(b"")), _FIELD),
]

ORDER = [
    Evil("twice", tar(file(b"a"), file(b"a", b"second")), "twice"),
    Evil("folder-then-file", tar(folder(b"a"), file(b"a")), "twice"),
    Evil("file-then-folder", tar(file(b"a"), folder(b"a")), "twice"),
    Evil("file-as-folder", tar(file(b"a"), file(b"a/b")), "folder of 'a/b' is not in"),
    Evil("no-folder", tar(file(b"d/evil")), "folder of 'd/evil' is not in"),
    Evil("out-of-order", tar(file(b"b"), file(b"a")), "out of order"),
    Evil("back-into-folder", tar(folder(b"d"), file(b"d/a"), file(b"e"), file(b"d/b")), "out of order"),
    Evil("case-only", tar(file(b"README"), file(b"readme")), "only in case"),
    Evil("case-only-folder", tar(folder(b"D"), folder(b"d")), "only in case"),
    Evil("case-folding", tar(file(b"strasse"), file("stra\u00dfe".encode())), "only in case"),
    Evil("case-unicode", tar(file("\u00c9".encode()), file("\u00e9".encode())), "only in case"),
]

KINDS = [
    Evil("symlink-out", tar(other(b"2", b"/etc/passwd")), "symbolic link"),
    Evil("symlink-in", tar(other(b"2", b"b"), file(b"b")), "symbolic link"),
    Evil("symlink-then-file", tar(other(b"2", b"/tmp"), file(b"a/pilotlight-evil")), "symbolic link"),
    Evil("symlink-up", tar(other(b"2", b"..")), "symbolic link"),
    Evil("hard-link-out", tar(other(b"1", b"/etc/passwd")), "hard link"),
    Evil("hard-link-in", tar(file(b"a"), other(b"1", b"a", b"b")), "hard link"),
    Evil("character-device", tar(other(b"3", major=b"0000001\0", minor=b"0000003\0")), "device"),
    Evil("block-device", tar(other(b"4", major=b"0000010\0", minor=b"0000000\0")), "device"),
    Evil("fifo", tar(other(b"6")), "FIFO"),
    Evil("contiguous", tar(other(b"7")), "contiguous"),
    Evil("old-style-file", tar(other(b"\0")), "before POSIX"),
    Evil("pax-path", tar(pax(b"20 path=../pilot-x\n")), "pax"),
    Evil("pax-linkpath", tar(pax(b"21 linkpath=/etc/pass\n")), "pax"),
    Evil("pax-size", tar(pax(b"22 size=99999999999999\n")), "pax"),
    Evil("pax-sparse", tar(pax(b"22 GNU.sparse.major=1\n")), "pax"),
    Evil("pax-global", tar(pax(b"20 path=../pilot-x\n", b"g")), "pax"),
    Evil("gnu-long-name", tar(file(b"././@LongLink", b"../evil\0", kind=b"L"), file(b"a")), "GNU long name"),
    Evil("gnu-long-link", tar(file(b"././@LongLink", b"/etc/passwd\0", kind=b"K"), file(b"a")), "GNU long link"),
    Evil("gnu-sparse", tar(other(b"S")), "sparse"),
    Evil("gnu-dump", tar(other(b"D")), "directory dump"),
    Evil("gnu-multi-volume", tar(other(b"M")), "another volume"),
    Evil("gnu-old-name", tar(other(b"N")), "of old"),
    Evil("volume-label", tar(other(b"V")), "volume label"),
    Evil("solaris-extended", tar(other(b"X")), "unknown kind"),
    Evil("vendor", tar(other(b"A")), "unknown kind"),
]

FIELDS = [
    Evil("setuid", tar(file(b"a", mode=b"0004755\0")), _FIELD),
    Evil("world-writable-folder", tar(folder(b"d", mode=b"0001777\0")), _FIELD),
    Evil("executable", tar(file(b"a", mode=b"0000700\0")), _FIELD),
    Evil("owner-number", tar(file(b"a", uid=b"0001750\0")), _FIELD),
    Evil("owner-name", tar(file(b"a", user=b"root")), _FIELD),
    Evil("group-name", tar(file(b"a", group=b"root")), _FIELD),
    Evil("time", tar(file(b"a", time=b"77777777777\0")), _FIELD),
    Evil("link-of-a-file", tar(file(b"a", link=b"/etc/passwd")), _FIELD),
    Evil("device-numbers-of-a-file", tar(file(b"a", major=b"0000001\0")), _FIELD),
    Evil("after-the-name", tar(file(b"a\0/../../evil")), _FIELD + "|cannot be shown"),
    Evil("name-in-the-prefix", tar(folder(b"d"), file(b"a", prefix=b"d")), _FIELD),
    Evil("end-of-the-header", tar(file(b"a", rest=b"hidden")), _FIELD),
    Evil("size-of-a-folder", tar(folder(b"d", size=b"00000000001\0"), bytes(512)), "has a size"),
    Evil("size-binary", tar(file(b"a", size=b"\x80" + bytes(10) + b"\x01")), _SIZE),
    Evil("size-negative", tar(file(b"a", size=b"\xff" * 12)), _SIZE),
    Evil("size-minus", tar(file(b"a", size=b"-0000000001\0")), _SIZE),
    Evil("size-spaces", tar(file(b"a", size=b"          1\0")), _SIZE),
    Evil("size-not-octal", tar(file(b"a", size=b"00000000009\0")), _SIZE),
    Evil("size-underscore", tar(file(b"a", size=b"0000000_001\0")), _SIZE),
    Evil("checksum-wrong", tar(file(b"a", checksum=b"000000\0 ")), _SUM),
    Evil("checksum-signed", tar(file("\u00e9".encode(), checksum=b"007777\0 ")), _SUM),
    Evil("checksum-blank", tar(file(b"a", checksum=b" " * 8)), _SUM),
    Evil("gnu-magic", tar(file(b"a", magic=b"ustar ", version=b" \0")), "not ustar"),
    Evil("no-magic", tar(file(b"a", magic=b"", version=b"")), "not ustar"),
    Evil("padding", gz(header(b"a", size=b"00000000001\0") + b"x" + b"hidden".ljust(511, b"\0") + END), "not zero"),
]

AMOUNTS = [
    Evil("too-many", tar(*(file(b"%03d" % n, b"") for n in range(51))), "more than 50 entries"),
    Evil("one-too-large", tar(file(b"a", bytes(100_001))), "more than 100000 bytes"),
    Evil("too-large-together", tar(*(file(b"%d" % n, bytes(40_000)) for n in range(3))), "more than 100000 bytes"),
    Evil("claims-8-GiB", tar(file(b"a", size=b"77777777777\0")), "more than 100000 bytes"),
    Evil("bomb", lambda: _bomb(64 << 20), "more than 100000 bytes"),
    Evil("bomb-after-the-end", _endless_end, "after its end"),
    Evil("too-short", tar(header(b"a", size=b"00000002000\0"))[:-20], "too early|damaged"),
]

FRAME = [
    Evil("empty", b"", "not a plain gzip"),
    Evil("not-compressed", file(b"a") + END, "not a plain gzip"),
    Evil("zip", b"PK\x03\x04" + bytes(100), "not a plain gzip"),
    Evil("zlib", zlib.compress(file(b"a") + END), "not a plain gzip"),
    Evil("bzip2", b"BZh91AY&SY" + bytes(50), "not a plain gzip"),
    Evil("nested", gz(_GOOD), "too early"),
    Evil("gzip-name", _flags(8, b"../evil\0"), "not a plain gzip"),
    Evil("gzip-comment", _flags(16, b"hidden\0"), "not a plain gzip"),
    Evil("gzip-extra", _flags(4, b"\x06\0hidden"), "not a plain gzip"),
    Evil("cut-in-the-trailer", _GOOD[:-4], "too early"),
    Evil("cut-in-the-middle", tar(file(b"a", bytes(range(256)) * 200))[:200], "too early"),
    Evil("cut-to-ten-bytes", _GOOD[:10], "too early"),
    Evil("flipped-bit", _GOOD[:14] + bytes([_GOOD[14] ^ 0x40]) + _GOOD[15:], "."),
    Evil("wrong-crc", _GOOD[:-8] + b"\0\0\0\0" + _GOOD[-4:], "damaged"),
    Evil("wrong-length", _GOOD[:-4] + b"\0\0\0\0", "damaged"),
    Evil("second-member", _GOOD + tar(file(b"evil")), "after the gzip member"),
    Evil("rest", _GOOD + b"hidden", "after the gzip member"),
    Evil("zeros-after", _GOOD + bytes(1000), "after the gzip member"),
    Evil("no-end", gz(file(b"a")), "too early"),
    Evil("half-an-end", gz(file(b"a") + bytes(512)), "too early"),
    Evil("one-empty-block", gz(file(b"a") + bytes(512) + file(b"b") + END), "not the end"),
    Evil("entry-after-the-end", gz(file(b"a") + END + file(b"b") + END), "after its end"),
    Evil("padded-to-a-record", gz(file(b"a") + bytes(10_240)), "after its end"),
    Evil("cut-in-a-header", gz(file(b"a") + header(b"b")[:300]), "too early"),
    Evil("cut-in-a-file", gz(header(b"a", size=b"00000001000\0") + b"x" * 100), "too early"),
]

ALL = [*PATHS, *ORDER, *KINDS, *FIELDS, *AMOUNTS, *FRAME]
