"""The interface of the workspace store, the same for a folder, another folder by URL, and an object store."""

import hashlib
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.objects import FolderStore, ObjectStore, RemoteStore, open_store
from pilotlight.errors import FailedPrecondition
from pilotlight.settings import Settings

ABC = hashlib.sha256(b"abc").hexdigest()


@pytest.fixture(params=["folder", "file", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    place = {"folder": "", "file": f"file://{tmp_path}/with%20space", "memory": f"memory://{uuid.uuid4().hex}/x"}
    return open_store(Settings(home=tmp_path, workspace_store=place[request.param]))


def test_urls_and_folders_open_what_they_name(tmp_path: Path) -> None:
    store = open_store(Settings(home=tmp_path, workspace_store=f"file://{tmp_path}/with%20space"))
    assert isinstance(store, FolderStore)
    assert store.root == tmp_path / "with space"
    assert isinstance(open_store(Settings(home=tmp_path, workspace_store="memory://x")), RemoteStore)
    assert open_store(Settings(home=tmp_path)) is open_store(Settings(home=tmp_path))


def test_url_that_nothing_serves_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(FailedPrecondition, match="nosuch://") as refused:
        open_store(Settings(home=tmp_path, workspace_store="nosuch://x"))
    assert "PILOTLIGHT_WORKSPACE_STORE" in refused.value.hint


def test_content_comes_back_by_its_digest(store: ObjectStore) -> None:
    assert store.put("s", 1, [b"a", b"bc"]) == ABC
    assert store.put("s", 1, [b"abc"]) == ABC
    store.seal("s", 1)
    with store.open("s", 1, ABC) as file:
        assert file.read() == b"abc"
    assert list(store.places("s")) == [(1, ABC)]
    assert ABC in store.locate("s", 1, ABC)


def test_large_content_passes_through_unharmed(store: ObjectStore) -> None:
    block = bytes(range(256)) * 4096
    digest = store.put("s", 1, (block for _ in range(10)))
    with store.open("s", 1, digest) as file:
        assert hashlib.sha256(file.read()).hexdigest() == digest


def test_what_is_not_there_is_not_found_and_may_be_removed(store: ObjectStore) -> None:
    with pytest.raises(FileNotFoundError):
        store.open("s", 1, ABC)
    assert list(store.places("s")) == []
    store.discard("s", 1, ABC)
    store.discard_all("s")


def test_removal_takes_one_or_all_of_a_session_only(store: ObjectStore) -> None:
    for session, epoch in (("s", 1), ("s", 2), ("s1", 1)):
        store.put(session, epoch, [b"abc"])
    store.discard("s", 1, ABC)
    assert list(store.places("s")) == [(2, ABC)]
    store.discard_all("s")
    assert list(store.places("s")) == []
    assert list(store.places("s1")) == [(1, ABC)]


def test_content_that_breaks_off_does_not_count(store: ObjectStore) -> None:
    def broken() -> Iterator[bytes]:
        yield b"ab"
        raise FailedPrecondition("changed")

    with pytest.raises(FailedPrecondition, match="changed"):
        store.put("s", 1, broken())
    assert list(store.places("s")) == []


def test_files_of_the_folder_are_closed_to_others(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "store")
    store.put("s", 1, [b"abc"])
    assert (tmp_path / "store").stat().st_mode & 0o077 == 0
    assert (tmp_path / "store" / "s").stat().st_mode & 0o022 == 0
