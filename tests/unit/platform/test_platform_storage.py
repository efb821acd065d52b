"""State of the local platform on disk: first start, blobs, signed URLs, and what a start cleans up."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest
from starlette.requests import Request

from local_platform.context import Platform, open_platform
from local_platform.resources import delete, find, get, insert, list_resources, update_body, wire
from local_platform.storage.signing import LIFETIME, Signer
from local_platform.storage.uploads import clean_uploads, register_upload, upload_folder
from local_platform.tables import DatasetRow
from pilotlight.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound, PermissionDenied
from pilotlight.settings import Settings

NAME = "accounts/acme/datasets/one"


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    platform = open_platform(Settings(home=tmp_path, account="acme"))
    yield platform
    platform.engine.dispose()


def add(platform: Platform, name: str = NAME, state: str = "UPLOADING", **body: object) -> None:
    with platform.writing() as db:
        insert(db, DatasetRow, name, dict(body), state)
        db.commit()


def test_state_is_kept_over_starts(platform: Platform, tmp_path: Path) -> None:
    key = (platform.home / "admin.key").read_text()
    again = open_platform(Settings(home=tmp_path, account="acme"))
    again.engine.dispose()
    assert (platform.home / "admin.key").read_text() == key
    url = platform.signer.sign("http://h", "GET", "/x")
    again.signer.check("GET", "/x", dict(parse_qsl(urlsplit(url).query)))
    with pytest.raises(FailedPrecondition, match="catalogue"):
        open_platform(Settings(home=tmp_path, account="fireworks"))


def test_resources_are_stored_changed_and_hidden_fields_stay(platform: Platform) -> None:
    add(platform, displayName="a", _secret=1)
    with pytest.raises(AlreadyExists):
        add(platform)
    with pytest.raises(InvalidArgument):
        add(platform, "datasets/one")
    with platform.writing() as db:
        row = get(db, DatasetRow, NAME)
        update_body(db, row, {"displayName": None, "count": "3"}, "READY")
        db.commit()
    request = Request({"type": "http", "query_string": b"filter=count%3D3", "headers": []})
    with platform.reading() as db:
        shown = wire(get(db, DatasetRow, NAME))
        page = list_resources(db, DatasetRow, "acme", request, "datasets")
        assert list_resources(db, DatasetRow, "other", request, "datasets")["datasets"] == []
    assert {field: shown.get(field) for field in ("name", "state", "count", "displayName", "_secret")} == {
        "name": NAME,
        "state": "READY",
        "count": "3",
        "displayName": None,
        "_secret": None,
    }
    assert page["datasets"] == [shown]
    with platform.writing() as db:
        delete(db, get(db, DatasetRow, NAME))
        db.commit()
        assert find(db, DatasetRow, NAME) is None
        with pytest.raises(NotFound):
            get(db, DatasetRow, NAME)


def test_a_dataset_has_a_file_only_when_it_is_ready(platform: Platform, tmp_path: Path) -> None:
    file = tmp_path / "data"
    file.write_bytes(b"rows")
    digest = platform.blobs.adopt(file)
    add(platform)
    with pytest.raises(FailedPrecondition, match="not READY"):
        platform.dataset_path(NAME)
    add(platform, f"{NAME}-two", "READY", contentHash=digest)
    assert platform.dataset_path(f"{NAME}-two").read_bytes() == b"rows"
    assert not file.exists()


def test_a_start_removes_only_what_nobody_refers_to(platform: Platform, tmp_path: Path) -> None:
    add(platform)
    kept = upload_folder(platform, register_upload(platform, DatasetRow, NAME, {"a.jsonl": 3}))
    (kept / "a.jsonl").write_bytes(b"abc")
    (kept / "a.jsonl.1234.part").write_bytes(b"a")
    orphan = upload_folder(platform, "0" * 32)
    orphan.mkdir()
    (tmp_path / "blob").write_bytes(b"unused")
    digest = platform.blobs.adopt(tmp_path / "blob")
    clean_uploads(platform)
    assert [path.name for path in kept.iterdir()] == ["a.jsonl"]
    assert not orphan.exists()
    assert not platform.blobs.path(digest).exists()
    old = time.time() - 25 * 3600
    os.utime(kept, (old, old))
    add(platform, f"{NAME}-two")
    register_upload(platform, DatasetRow, f"{NAME}-two", {"b.jsonl": 1})
    assert not kept.exists()


def test_only_what_lies_in_our_store_is_removed_with_a_model(platform: Platform, tmp_path: Path) -> None:
    ours, theirs = platform.new_model_directory("accounts/acme/models/m"), tmp_path / "checkpoint"
    for folder in (ours, theirs):
        folder.mkdir(parents=True)
        platform.remove_model_directory(folder)
    assert (ours.exists(), theirs.exists()) == (False, True)


def test_signatures_bind_method_path_parameters_and_time() -> None:
    signer = Signer(b"secret")
    query = dict(parse_qsl(urlsplit(signer.sign("http://h", "PUT", "/a b", {"size": "3"})).query))
    signer.check("PUT", "/a b", query)
    assert int(query["expires"]) <= time.time() + LIFETIME
    for method, path, change in [
        ("GET", "/a b", {}),
        ("PUT", "/a", {}),
        ("PUT", "/a b", {"size": "4"}),
        ("PUT", "/a b", {"extra": "1"}),
        ("PUT", "/a b", {"expires": "99999999999"}),
        ("PUT", "/a b", {"signature": ""}),
        ("PUT", "/a b", {"signature": "é"}),
    ]:
        with pytest.raises(PermissionDenied, match="does not match"):
            signer.check(method, path, {**query, **change})
    with pytest.raises(PermissionDenied, match="does not match"):
        Signer(b"other").check("PUT", "/a b", query)
