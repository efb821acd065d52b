"""Looking at what a sandbox left, and making it again: deterministic, bounded, and no link is ever followed."""

import hashlib
import io
import os
import socket
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotlight.archive import (
    BadArchive,
    Bounds,
    Captured,
    Entry,
    Kind,
    Stored,
    blocks_of,
    build,
    capture,
    decode_manifest,
    encode_manifest,
    folder_at,
    open_regular,
    remove_tree,
    walk_tree,
)
from pilotlight.errors import AlreadyExists, FailedPrecondition, PilotlightError, ResourceExhausted

BOUNDS = Bounds(entries=100, total_bytes=1 << 20, depth=4)


class Contents:
    """Keeps content in memory; `before` is called when a file is open and before it is read."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}

    def keep(self, path: str, descriptor: int, info: os.stat_result) -> Stored:
        content = b"".join(blocks_of(path, descriptor, info.st_size))
        digest = hashlib.sha256(content).hexdigest()
        self.blobs[digest] = content
        return Stored(digest, 1)

    def open(self, entry: Entry) -> io.BytesIO:
        if entry.digest not in self.blobs:
            raise FileNotFoundError(entry.digest)
        return io.BytesIO(self.blobs[entry.digest])


Content = tuple[bytes, Contents]


def pack_folder(folder: Path, bounds: Bounds = BOUNDS) -> tuple[Content, Captured]:
    contents = Contents()
    with folder_at(folder) as root:
        captured = capture(root, bounds, contents.keep)
    return (encode_manifest(captured.entries), contents), captured


def restore(content: Content, parent: Path, bounds: Bounds = BOUNDS, *, replace: bool = False) -> Path:
    with folder_at(parent) as descriptor:
        build(decode_manifest(content[0], bounds), descriptor, "again", content[1].open, replace=replace)
    return parent / "again"


@pytest.fixture
def work(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_text("SECRET")
    work = tmp_path / "work"
    (work / "outputs" / "empty").mkdir(parents=True)
    (work / "outputs" / "ä b.json").write_text("{}")
    (work / "plan.md").write_bytes(os.urandom(3000))
    (work / "none").touch()
    return work


def content_of(root: Path) -> dict[str, bytes | None]:
    return {str(path.relative_to(root)): path.read_bytes() if path.is_file() else None for path in root.rglob("*")}


def test_what_is_captured_is_built_again(work: Path) -> None:
    (work / "program").touch(mode=0o4755)
    content, captured = pack_folder(work)
    again = restore(content, work.parent)
    assert content_of(again) == content_of(work)
    assert [(entry.path, entry.kind, entry.size) for entry in captured.entries] == [
        ("none", Kind.FILE, 0),
        ("outputs", Kind.FOLDER, 0),
        ("outputs/empty", Kind.FOLDER, 0),
        ("outputs/ä b.json", Kind.FILE, 2),
        ("plan.md", Kind.FILE, 3000),
        ("program", Kind.PROGRAM, 0),
    ]
    modes = {path.name: path.stat().st_mode & 0o7777 for path in again.rglob("*") if path.is_file()}
    assert modes == {"none": 0o600, "plan.md": 0o600, "ä b.json": 0o600, "program": 0o700}
    assert {path.stat().st_mode & 0o7777 for path in again.rglob("*") if path.is_dir()} == {0o700}


def test_same_content_gives_same_manifest_whatever_its_owner_mode_and_age(work: Path) -> None:
    content = pack_folder(work)[0]
    again = restore(content, work.parent)
    os.utime(again / "plan.md", (1, 1))
    (again / "plan.md").chmod(0o4644)
    (again / "outputs").chmod(0o777)
    assert pack_folder(again)[0][0] == content[0]
    (again / "plan.md").write_bytes(b"x" * 3000)
    assert pack_folder(again)[0][0] != content[0]


def test_links_pipes_and_sockets_are_left_out_and_never_followed(work: Path) -> None:
    plain = pack_folder(work)[0][0]
    (work / "file-link").symlink_to("../secret")
    (work / "outputs" / "folder-link").symlink_to(work.parent, target_is_directory=True)
    (work / "broken").symlink_to("/nowhere")
    os.mkfifo(work / "pipe")
    with socket.socket(socket.AF_UNIX) as listener, folder_at(work) as root:
        listener.bind(f"/proc/self/fd/{root}/socket")
        content, packed = pack_folder(work)
    assert set(packed.skipped) == {"file-link", "outputs/folder-link", "broken", "pipe", "socket"}
    assert content[0] == plain


def test_a_root_that_is_a_link_is_not_opened(work: Path) -> None:
    (work.parent / "linked").symlink_to(work, target_is_directory=True)
    with pytest.raises(NotADirectoryError):
        pack_folder(work.parent / "linked")


def test_what_becomes_a_link_after_it_was_seen_is_not_opened(work: Path) -> None:
    """As `capture` does it: the walk has seen a file and a folder; then both are swapped for links to elsewhere."""
    (work.parent / "elsewhere").mkdir()
    (work.parent / "elsewhere" / "key").write_text("SECRET")
    (work / "zzz").mkdir()
    seen: list[str] = []
    with folder_at(work) as root:
        for found in walk_tree(root, entries=100, depth=4, strict=True):
            seen.append(found.path)
            if found.path == "plan.md":
                for name, goal in (("plan.md", "../secret"), ("zzz", "../elsewhere")):
                    (work / name).rename(work.parent / name)
                    (work / name).symlink_to(goal)
                with pytest.raises(OSError, match="symbolic links"):
                    open_regular(found.name, found.folder)
        with pytest.raises(NotADirectoryError), folder_at("zzz", root):
            pass
    assert seen[-1] == "zzz"


@pytest.mark.parametrize("kind", ["pipe", "folder"])
def test_only_regular_files_are_opened(work: Path, kind: str) -> None:
    os.mkfifo(work / "pipe")
    (work / "folder").mkdir()
    with folder_at(work) as root, pytest.raises(FileNotFoundError, match="not a regular file"):
        open_regular(kind, root)


@pytest.mark.parametrize(
    "name", ["a\nb", "a\x1bb", "a\\b", "a ", " a", "a.", "e\u0301", "\u202eb", "x" * 101, os.fsdecode(b"\xff")]
)
def test_names_that_no_archive_may_hold_are_refused(work: Path, name: str) -> None:
    (work / name).touch()
    with pytest.raises(FailedPrecondition, match="The path") as refused:
        pack_folder(work)
    assert refused.value.message.isprintable()


def test_names_that_differ_only_in_case_are_refused(work: Path) -> None:
    (work / "PLAN.md").touch()
    with pytest.raises(FailedPrecondition, match="only in case"):
        pack_folder(work)


def test_amounts_are_bounded(work: Path) -> None:
    (work / "sparse").touch()
    os.truncate(work / "sparse", 1 << 40)
    with pytest.raises(ResourceExhausted, match="bytes"):
        pack_folder(work)
    (work / "sparse").unlink()
    (work / "a" / "b" / "c" / "d").mkdir(parents=True)
    pack_folder(work)
    (work / "a" / "b" / "c" / "d" / "e").mkdir()
    with pytest.raises(FailedPrecondition, match="deep"):
        pack_folder(work)
    remove_tree_at(work / "a")
    for number in range(100):
        (work / f"n{number}").symlink_to("nowhere")
    with pytest.raises(ResourceExhausted, match="more than 100"):
        pack_folder(work)


@pytest.mark.parametrize("kind", ["folder", "link", "file"])
def test_unpacking_over_something_is_refused_and_changes_nothing(work: Path, kind: str) -> None:
    content, target = pack_folder(work)[0], work.parent / "again"
    if kind == "folder":
        target.mkdir()
    elif kind == "link":
        target.symlink_to("nowhere")
    else:
        target.touch()
    before = sorted(work.parent.iterdir())
    with pytest.raises(AlreadyExists):
        restore(content, work.parent)
    assert sorted(work.parent.iterdir()) == before


def test_what_is_there_is_replaced_as_a_whole_when_that_is_asked_for_and_kept_on_failure(work: Path) -> None:
    content = pack_folder(work)[0]
    again = work.parent / "again"
    again.mkdir()
    (again / "stale").write_text("stale")
    damaged = (content[0], Contents())
    with pytest.raises(BadArchive, match="missing"):
        restore(damaged, work.parent, replace=True)
    assert content_of(again) == {"stale": b"stale"}
    restore(content, work.parent, replace=True)
    assert content_of(again) == content_of(work)
    assert sorted(path.name for path in work.parent.iterdir()) == ["again", "secret", "work"]


@pytest.mark.parametrize("change", ["missing", "shorter", "longer", "other"])
def test_content_that_is_not_what_was_stored_is_refused_and_leaves_nothing(work: Path, change: str) -> None:
    content, captured = pack_folder(work)
    digest, blobs = captured.entries[-1].digest, content[1].blobs
    before = sorted(work.parent.iterdir())
    blobs[digest] = {"missing": b"", "shorter": blobs[digest][:-1], "longer": blobs[digest] + b"x",
                     "other": blobs[digest][:-1] + b"\0"}[change]  # fmt: skip
    if change == "missing":
        del blobs[digest]
    with pytest.raises(BadArchive, match=r"'plan\.md' is (missing|not what was stored)"):
        restore(content, work.parent)
    assert sorted(work.parent.iterdir()) == before


def test_failure_of_the_disk_leaves_nothing(work: Path) -> None:
    """A file-size limit stands for a full disk; in a process of its own, since it cannot be raised again."""
    (work.parent / "manifest").write_bytes(pack_folder(work)[0][0])
    program = (
        "import resource, signal, sys, pathlib\n"
        "from pilotlight.archive import Bounds, build, decode_manifest, folder_at\n"
        "home = pathlib.Path(sys.argv[1])\n"
        "entries = decode_manifest((home / 'manifest').read_bytes(), Bounds())\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "with folder_at(home) as parent:\n"
        "    build(entries, parent, 'again', lambda entry: (home / 'work' / entry.path).open('rb'))\n"
    )
    before = sorted(work.parent.iterdir())
    done = subprocess.run(
        [sys.executable, "-c", program, str(work.parent)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "File too large" in done.stderr, done.stderr
    assert sorted(work.parent.iterdir()) == before


@pytest.mark.parametrize("size", [0, 5, 20])
def test_file_that_changes_while_it_is_read_is_refused(tmp_path: Path, size: int) -> None:
    """Between its opening and its reading: a process that outlived its sandbox for a moment."""
    (tmp_path / "a").write_bytes(b"x" * 10)
    contents = Contents()

    def meddle(path: str, descriptor: int, info: os.stat_result) -> Stored:
        os.truncate(tmp_path / "a", size)
        return contents.keep(path, descriptor, info)

    with folder_at(tmp_path) as root, pytest.raises(FailedPrecondition, match="'a' changed while it was read"):
        capture(root, BOUNDS, meddle)


def remove_tree_at(folder: Path) -> None:
    with folder_at(folder.parent) as parent:
        remove_tree(folder.name, parent)


def test_very_deep_folders_are_removed_and_links_are_not_followed(work: Path) -> None:
    deep = os.open(work, os.O_RDONLY)
    for _ in range(1100):
        os.mkdir("d", dir_fd=deep)
        inner = os.open("d", os.O_RDONLY, dir_fd=deep)
        os.symlink("../secret", "link", dir_fd=inner)
        os.close(deep)
        deep = inner
    os.close(deep)
    (work / ".1.lifted").mkdir()
    (work / ".2.lifted").write_text("a name that removal uses itself")
    with pytest.raises(FailedPrecondition, match="deep"):
        pack_folder(work)
    remove_tree_at(work)
    assert [path.name for path in work.parent.iterdir()] == ["secret"]


_NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12).filter(
    lambda name: "/" not in name and "\0" not in name and name not in (".", "..")
)


@given(files=st.dictionaries(_NAMES, st.binary(max_size=1500), max_size=6), folder=_NAMES)
def test_any_folder_is_refused_or_comes_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes], folder: str
) -> None:
    parent = tmp_path_factory.mktemp("any")
    work = parent / "work"
    for place in (work, work / folder):
        if place.exists():  # a file has that name
            break
        place.mkdir()
        for name, content in files.items():
            (place / name).write_bytes(content)
    try:
        content = pack_folder(work)[0]
    except PilotlightError:
        assert any(_odd(path) for path in work.rglob("*")) or _collide([path.name for path in work.iterdir()])
        return
    assert content_of(restore(content, parent)) == content_of(work)


def _odd(path: Path) -> bool:
    name = path.name
    return (
        not name.isprintable()
        or "\\" in name
        or name != name.strip()
        or name.endswith(".")
        or unicodedata.normalize("NFC", name) != name
    )


def _collide(names: list[str]) -> bool:
    return len({unicodedata.normalize("NFC", name.casefold()) for name in names}) < len(names)
