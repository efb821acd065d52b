"""Manifests as an attacker would write them: valid but for one thing."""

import hashlib
import io
import json
from typing import Any, NamedTuple

from pilotlight.archive import Bounds, Entry

BOUNDS = Bounds(entries=50, total_bytes=100_000, depth=8)
CONTENTS: dict[str, bytes] = {"1" * 64: b"x"}
"""By digest: whatever a forged manifest names is there, so that only the manifest can be refused."""
List = list[Any]


def file(path: Any, content: bytes = b"x", **fields: Any) -> List:
    """A file's entry, with its content in the store."""
    digest = hashlib.sha256(content).hexdigest()
    CONTENTS[digest] = content
    values = {"path": path, "kind": "0600", "size": len(content), "digest": digest, "epoch": 1} | fields
    return list(values.values())


def folder(path: Any, **fields: Any) -> List:
    """A folder's entry."""
    return list(({"path": path, "kind": "0700/", "size": 0, "digest": "", "epoch": 0} | fields).values())


def manifest(*entries: Any, **fields: Any) -> bytes:
    """The document, encoded as `encode_manifest` does it."""
    document = {"version": 1, "entries": list(entries)} | fields
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


def open_content(entry: Entry) -> io.BytesIO:
    """What the store has."""
    if entry.digest not in CONTENTS:
        raise FileNotFoundError(entry.digest)
    return io.BytesIO(CONTENTS[entry.digest])


class Evil(NamedTuple):
    """A manifest that has to be refused for the reason that matches `reason`."""

    name: str
    content: bytes
    reason: str


_GOOD = manifest(file("a"))
_DOT, _CHARACTER, _SPACE = "absolute or has an empty or dot", "cannot be shown", "space at an end or a dot last"
_NONE, _OTHER, _FIELD, _WITH = (
    "not a manifest",
    "in another way",
    "no valid size, digest or epoch",
    "folder with content",
)
_DIGEST = file("a")[3]

PATHS = [
    Evil("dotdot", manifest(file("../evil")), _DOT),
    Evil("dotdot-inside", manifest(folder("d"), file("d/../evil")), _DOT),
    Evil("dotdot-last", manifest(folder("d"), file("d/..")), _DOT),
    Evil("dotdot-folder", manifest(folder("..")), _DOT),
    Evil("absolute", manifest(file("/tmp/pilotlight-evil")), _DOT),
    Evil("double-slash", manifest(folder("d"), file("d//evil")), _DOT),
    Evil("dot", manifest(file("./evil")), _DOT),
    Evil("dot-alone", manifest(folder(".")), _DOT),
    Evil("trailing-slash", manifest(folder("d/")), _DOT),
    Evil("empty-path", manifest(file("")), _DOT),
    Evil("newline", manifest(file("evil\nname")), _CHARACTER),
    Evil("nul", manifest(file("a\0/../../evil")), _CHARACTER),
    Evil("escape-sequence", manifest(file("evil\x1b[2J")), _CHARACTER),
    Evil("delete-character", manifest(file("evil\x7f")), _CHARACTER),
    Evil("c1-control", manifest(file("evil\x9b2J")), _CHARACTER),
    Evil("right-to-left", manifest(file("evil\u202etxt.exe")), _CHARACTER),
    Evil("zero-width", manifest(file("ev\u200bil")), _CHARACTER),
    Evil("backslash", manifest(file("..\\evil")), _CHARACTER),
    Evil("surrogate-escaped", _GOOD.replace(b'"a"', b'"evil\\ud800"'), _CHARACTER),
    Evil("space-last", manifest(file("evil ")), _SPACE),
    Evil("space-first", manifest(file(" evil")), _SPACE),
    Evil("dot-last", manifest(file("evil.")), _SPACE),
    Evil("decomposed", manifest(file("e\u0301vil")), "normal form C"),
    Evil("not-utf-8", _GOOD.replace(b'"a"', b'"evil\xff"'), _NONE),
    Evil("overlong-slash", _GOOD.replace(b'"a"', b'"..\xc0\xafevil"'), _NONE),
    Evil("surrogate", manifest(file("evil\ud800")), _CHARACTER),
    Evil("deep", manifest(*(folder("/".join("d" * n)) for n in range(1, 10))), "more than 8 deep"),
    Evil("component-too-long", manifest(file("b" * 101)), "longer than"),
    Evil("path-too-long", manifest(folder("d" * 90), folder("d" * 90 + "/" + "e" * 90),
                                   file("/".join(("d" * 90, "e" * 90, "f" * 90)))), "longer than"),
]  # fmt: skip

ORDER = [
    Evil("twice", manifest(file("a"), file("a", b"second")), "twice"),
    Evil("folder-then-file", manifest(folder("a"), file("a")), "twice"),
    Evil("file-then-folder", manifest(file("a"), folder("a")), "twice"),
    Evil("file-as-folder", manifest(file("a"), file("a/b")), "folder that is not there"),
    Evil("no-folder", manifest(file("d/evil")), "folder that is not there"),
    Evil("no-folder-for-a-folder", manifest(folder("d/evil")), "folder that is not there"),
    Evil("out-of-order", manifest(file("b"), file("a")), "out of order"),
    Evil("back-into-folder", manifest(folder("d"), file("d/a"), file("e"), file("d/b")), "out of order"),
    Evil("case-only", manifest(file("README"), file("readme")), "only in case"),
    Evil("case-only-folder", manifest(folder("D"), folder("d")), "only in case"),
    Evil("case-folding", manifest(file("strasse"), file("stra\u00dfe")), "only in case"),
    Evil("case-unicode", manifest(file("\u00c9"), file("\u00e9")), "only in case"),
]

FIELDS = [
    Evil("setuid", manifest(file("a", kind="4755")), _NONE),
    Evil("world-writable-folder", manifest(folder("d", kind="1777/")), _NONE),
    Evil("symbolic-link", manifest(file("a", kind="link")), _NONE),
    Evil("kind-number", manifest(file("a", kind=0o600)), _NONE),
    Evil("kind-null", manifest(file("a", kind=None)), _NONE),
    Evil("size-of-a-folder", manifest(folder("d", size=1)), _WITH),
    Evil("content-of-a-folder", manifest(folder("d", digest=_DIGEST)), _WITH),
    Evil("epoch-of-a-folder", manifest(folder("d", epoch=1)), _WITH),
    Evil("size-negative", manifest(file("a", size=-1)), _FIELD),
    Evil("size-text", manifest(file("a", size="1")), _NONE),
    Evil("size-truth", manifest(file("a", b"x", size=True)), _NONE),
    Evil("size-broken", manifest(file("a", size=1.0)), _NONE),
    Evil("size-null", manifest(file("a", size=None)), _NONE),
    Evil("digest-empty", manifest(file("a", digest="")), _FIELD),
    Evil("digest-short", manifest(file("a", digest=_DIGEST[:-1])), _FIELD),
    Evil("digest-upper-case", manifest(file("a", digest=_DIGEST.upper())), _FIELD),
    Evil("digest-newline", manifest(file("a", digest=_DIGEST + "\n")), _FIELD),
    Evil("digest-path", manifest(file("a", digest="../" * 21 + "b")), _FIELD),
    Evil("digest-number", manifest(file("a", digest=1)), _NONE),
    Evil("epoch-zero", manifest(file("a", epoch=0)), _FIELD),
    Evil("epoch-negative", manifest(file("a", epoch=-1)), _FIELD),
    Evil("epoch-path", manifest(file("a", epoch="../1")), _NONE),
    Evil("path-number", manifest(file(1)), _NONE),
    Evil("path-null", manifest(file(None)), _NONE),
    Evil("path-list", manifest(file(["a"])), _NONE),
    Evil("field-missing", manifest(file("a")[:-1]), _NONE),
    Evil("field-more", manifest([*file("a"), 0]), _NONE),
]

AMOUNTS = [
    Evil("too-many", manifest(*(file(f"{n:03d}", b"") for n in range(51))), "more than 50 entries"),
    Evil("one-too-large", manifest(file("a", bytes(100_001))), "more than 100000 bytes"),
    Evil("too-large-together", manifest(*(file(f"{n}", bytes(40_000)) for n in range(3))), "more than 100000 bytes"),
    Evil("claims-an-exabyte", manifest(file("a", size=1 << 60)), "more than 100000 bytes"),
    Evil("claims-more-than-there-is", manifest(file("a", size=2)), "not what was stored"),
    Evil("claims-less-than-there-is", manifest(file("a", b"xy", size=1)), "not what was stored"),
    Evil("content-missing", manifest(file("a", digest="0" * 64)), "is missing"),
    Evil("content-of-another", manifest(file("a", digest="1" * 64)), "not what was stored"),
]

FRAME = [
    Evil("empty", b"", _NONE),
    Evil("text", b"a", _NONE),
    Evil("null", b"null", _NONE),
    Evil("list", b"[]", _NONE),
    Evil("no-entries", b'{"version":1}', _NONE),
    Evil("entries-of-another-type", b'{"version":1,"entries":1}', _NONE),
    Evil("entry-of-another-type", b'{"version":1,"entries":[1]}', _NONE),
    Evil("nested-very-deep", b'{"version":1,"entries":' + b"[" * 100_000, _NONE),
    Evil("cut", _GOOD[:-1], _NONE),
    Evil("rest", _GOOD + b"x", _NONE),
    Evil("space-after", _GOOD + b"\n", _OTHER),
    Evil("space-inside", _GOOD.replace(b",", b", ", 1), _OTHER),
    Evil("byte-order-mark", b"\xef\xbb\xbf" + _GOOD, _OTHER),
    Evil("utf-16", _GOOD.decode().encode("utf-16-le"), _OTHER),
    Evil("later-version", manifest(file("a"), version=2), _OTHER),
    Evil("no-version", _GOOD.replace(b'"version":1,', b""), _OTHER),
    Evil("version-text", manifest(file("a"), version="1"), _OTHER),
    Evil("further-field", manifest(file("a"), owner="root"), _OTHER),
    Evil("entries-twice", _GOOD[:-1] + b"," + _GOOD[13:], _OTHER),
    Evil("escaped-character", _GOOD.replace(b'"a"', b'"\\u0061"'), _OTHER),
    Evil("number-written-otherwise", _GOOD.replace(b",1]", b",1e0]"), _NONE),
    Evil("minus-zero", manifest(folder("d")).replace(b'0,"",0', b'-0,"",0'), _OTHER),
]

ALL = [*PATHS, *ORDER, *FIELDS, *AMOUNTS, *FRAME]
