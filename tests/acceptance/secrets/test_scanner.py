"""The scanner of the canary tests finds what is planted: otherwise their silence would mean nothing."""

import base64
import gzip
import sqlite3
import tarfile
import zlib
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.fixtures.canaries import Scanner

VALUE = "Canary/with+odd=chars&0123456789"
RAW = VALUE.encode()
SCANNER = {"c": VALUE}
WRITTEN = {
    "plain": RAW,
    "json": b'{"key": "' + RAW + b'"}',
    "hex": RAW.hex().encode(),
    "HEX": RAW.hex().upper().encode(),
    "url": quote(VALUE, safe="").encode(),
    "url-keeping-slashes-encoded-whole": b"".join(b"%%%02x" % byte for byte in RAW),
    "repr-of-bytes-escaped": b"".join(b"\\x%02x" % byte for byte in RAW),
    "reversed": RAW[::-1],
    "utf-16": VALUE.encode("utf-16"),
    "base32": base64.b32encode(RAW),
    "gzip": gzip.compress(b"a" + RAW),
    "zlib": zlib.compress(b"b" * 99 + RAW),
    "gzip-in-gzip": gzip.compress(gzip.compress(RAW)),
} | {
    f"base64-{before}-{after}": encode(b"x" * before + RAW + b"y" * after)
    for encode in (base64.b64encode, base64.urlsafe_b64encode)
    for before in range(4)
    for after in range(3)
}


@pytest.mark.parametrize("form", list(WRITTEN))
def test_value_is_found_in_every_form_and_place(tmp_path: Path, form: str) -> None:
    written = WRITTEN[form]
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "file").write_bytes(
        b"before " + written + b" after" if written[:1] not in b"\x1fx" else written
    )
    (hit, *_) = Scanner(SCANNER).scan_tree(tmp_path)
    assert hit.canary == "c"
    assert "deep/file" in hit.place
    assert not Scanner({"other": "another-value-0123456789"}).scan_tree(tmp_path)


def test_value_is_found_in_a_snapshot_a_database_and_a_name(tmp_path: Path) -> None:
    work, home = tmp_path / "work", tmp_path / "home"
    (work / "outputs").mkdir(parents=True)
    home.mkdir()
    (work / "outputs" / "a").write_bytes(b"z" * 5000 + RAW)
    with tarfile.open(home / "s.tar.gz", "w:gz") as archive:
        archive.add(work / "outputs", "outputs")
    with sqlite3.connect(home / "x.db") as db:
        db.execute("PRAGMA page_size = 512")
        db.execute("CREATE TABLE t (a, b)")
        for length in range(400, 560):  # at some length it lies across two pages
            db.execute("INSERT INTO t VALUES (?, ?)", ("z" * length + VALUE, RAW))
    db.close()
    (home / "named-0123456789-canary").touch()
    places = {hit.place.removeprefix(str(home)) for hit in Scanner(SCANNER).scan_tree(home)}
    assert places >= {"/s.tar.gz (unzipped):outputs/a", "/x.db", f"rows of {home}/x.db"}
    assert Scanner({"n": "named-0123456789-canary"}).scan_tree(home)
    assert not Scanner(SCANNER).scan_tree(home, skip=("s.tar.gz", "x.db"))
