"""Every manifest that `capture` would not make is refused, for its own reason, and leaves nothing behind."""

import random
import re
from pathlib import Path

import pytest

from pilotlight.archive import BadArchive, build, decode_manifest, folder_at
from tests.unit.archive.forge import ALL, BOUNDS, CONTENTS, Evil, file, folder, manifest, open_content


def build_from(content: bytes, parent: Path) -> None:
    entries = decode_manifest(content, BOUNDS)
    with folder_at(parent) as descriptor:
        build(entries, descriptor, "work", open_content)


def state_of(root: Path) -> list[tuple[str, int, bytes]]:
    """Every path below `root` with its mode and content, links not followed."""
    found: list[tuple[str, int, bytes]] = []
    for path in sorted(root.rglob("*")):
        content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
        found.append((str(path.relative_to(root)), path.lstat().st_mode, content))
    return found


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture
def parent(tmp_path: Path) -> Path:
    """A folder with something in it and beside it, so that what a manifest reaches is seen."""
    (tmp_path / "beside").write_text("beside")
    parent = tmp_path / "session"
    parent.mkdir(mode=0o700)
    (parent / "runner.log").write_text("log")
    return parent


@pytest.mark.parametrize("evil", ALL, ids=[evil.name for evil in ALL])
def test_evil_manifest_is_refused_and_leaves_nothing(parent: Path, evil: Evil) -> None:
    before, mode = state_of(parent.parent), parent.stat().st_mode
    descriptors, files = open_files(), set(Path("/tmp").glob("pilotlight-evil*"))
    with pytest.raises(BadArchive) as refused:
        build_from(evil.content, parent)
    assert re.search(evil.reason, refused.value.message), refused.value.message
    assert refused.value.message.isprintable()
    assert (state_of(parent.parent), parent.stat().st_mode) == (before, mode)
    assert open_files() == descriptors
    assert set(Path("/tmp").glob("pilotlight-evil*")) == files


def test_there_are_enough_of_them_and_each_is_another() -> None:
    assert len(ALL) >= 90
    assert len({evil.content for evil in ALL}) == len({evil.name for evil in ALL}) == len(ALL)


def test_the_forge_writes_what_is_accepted_when_nothing_is_wrong(parent: Path) -> None:
    build_from(manifest(file("a", b"one"), folder("d"), file("d/b", b"two", kind="0700")), parent)
    work = parent / "work"
    assert [(path, content) for path, _, content in state_of(work)] == [("a", b"one"), ("d", b""), ("d/b", b"two")]
    assert [mode & 0o7777 for _, mode, _ in state_of(work)] == [0o600, 0o700, 0o700]


def test_random_damage_is_refused_or_gives_other_names_only(parent: Path) -> None:
    """Any single damaged byte: refused, or a manifest of the same content; its own digest is not checked here."""
    good, source = manifest(file("a", b"one" * 99), folder("d"), file("d/b", b"two")), random.Random(5)
    accepted = 0
    for _ in range(400):
        damaged = bytearray(good)
        damaged[source.randrange(len(good))] ^= source.randrange(1, 256)
        try:
            build_from(bytes(damaged), parent)
        except BadArchive:
            assert [path.name for path in parent.iterdir()] == ["runner.log"]
            continue
        accepted += 1
        assert {content for _, _, content in state_of(parent / "work")} <= {b"", *CONTENTS.values()}
        (parent / "work").rename(parent.parent / f"accepted-{accepted}")
    assert accepted < 40
