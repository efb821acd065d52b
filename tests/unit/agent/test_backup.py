"""Backup and restore of a home without servers: what is in it, what is refused, and that nothing is half done."""

import json
import os
import shutil
import sqlite3
import threading
from pathlib import Path

import pytest

from agent.backup.create import create_backup
from agent.backup.databases import copy_sqlite
from agent.backup.record import RECORD, read_record
from agent.backup.restore import restore_backup
from agent.history import record_snapshot
from agent.store import writing
from agent.workspace import Workspace
from pilotlight.database import open_engine
from pilotlight.errors import FailedPrecondition
from pilotlight.locks import SERVING, hold_home, try_lock
from pilotlight.settings import Settings
from tests.fixtures.databases import create_all_tables
from tests.fixtures.desk import open_desk


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A home with a waiting session, a platform with a model, and keys."""
    settings = Settings(home=tmp_path / "home")
    settings.home.mkdir()
    engine = open_engine(settings.control_database_url)
    create_all_tables(engine)
    session = open_desk(engine, settings.home).waiting()
    workspace = Workspace(settings, session)
    (workspace.work / "plan.md").write_text("plan")
    with writing(engine) as db:
        record_snapshot(db, session, 1, workspace.snapshots.save(workspace.work, 1))
    engine.dispose()
    (settings.home / "admin.key").write_text("fw_key")
    make_platform(settings.home / "platform")
    return settings


def make_platform(home: Path) -> None:
    model = home / "models" / "acme" / "m"
    model.mkdir(parents=True)
    (model / "adapter.safetensors").write_bytes(b"weights")
    (model / "link").symlink_to("/models/elsewhere")
    (home / "blobs").mkdir()
    (home / "blobs" / "abc").write_bytes(b"rows")
    (home / "uploads" / "u").mkdir(parents=True)
    with sqlite3.connect(home / "platform.db") as db:
        for table in ("platform_dataset", "platform_model"):
            db.execute(f"CREATE TABLE {table} (name TEXT PRIMARY KEY, state TEXT, body JSON)")
        db.execute("INSERT INTO platform_dataset VALUES ('d', 'READY', ?)", (json.dumps({"contentHash": "abc"}),))
        db.execute("INSERT INTO platform_model VALUES ('m', 'READY', ?)", (json.dumps({"_directory": str(model)}),))
        db.execute("INSERT INTO platform_model VALUES ('b', 'READY', ?)", (json.dumps({"_directory": "/hub/b"}),))
    db.close()


def state_of(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): str(path.readlink()).encode() if path.is_symlink() else path.read_bytes()
        for path in root.rglob("*")
        if path.is_symlink() or path.is_file()
    }


def test_what_is_restored_is_what_was_there(settings: Settings, tmp_path: Path) -> None:
    record = create_backup(settings, tmp_path / "b")
    assert (record.sessions, record.unsaved, record.store) == (1, [], "home")
    fresh = Settings(home=tmp_path / "fresh")
    restore_backup(fresh, tmp_path / "b", replace=False)
    before, after = state_of(settings.home), state_of(fresh.home)
    same = [name for name in before if name.startswith(("admin", "workspaces/", "platform/blobs/", "platform/models/"))]
    assert len(same) >= 6
    assert {name: after[name] for name in same} == {name: before[name] for name in same}
    assert not [name for name in after if name.startswith(("sessions/", "platform/uploads/"))]
    with sqlite3.connect(fresh.home / "platform" / "platform.db") as db:
        bodies = {name: json.loads(body) for name, body in db.execute("SELECT name, body FROM platform_model")}
    db.close()
    assert bodies["m"]["_directory"] == str(fresh.home / "platform" / "models" / "acme" / "m")
    assert bodies["b"]["_directory"] == "/hub/b"
    with sqlite3.connect(fresh.home / "control.db") as db:
        ((session, status),) = db.execute("SELECT id, status FROM sessions").fetchall()
        (name,) = db.execute("SELECT name FROM snapshots").fetchone()
    db.close()
    assert status == "waiting"
    workspace = Workspace(fresh, session)
    workspace.prepare(2, name)
    assert (workspace.work / "plan.md").read_text() == "plan"


def test_backup_and_restored_home_are_closed_to_others(settings: Settings, tmp_path: Path) -> None:
    create_backup(settings, tmp_path / "b")
    (tmp_path / "b" / "home" / "admin.key").chmod(0o644)  # as a copy on another file system may be
    restore_backup(Settings(home=tmp_path / "fresh"), tmp_path / "b", replace=False)
    for root in (tmp_path / "b", tmp_path / "fresh"):
        assert root.stat().st_mode & 0o077 == 0
    assert (tmp_path / "fresh" / "admin.key").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("damage", ["changed", "missing", "added", "linked", "format", "path", "cut"])
def test_damaged_backup_is_refused_before_anything_is_touched(settings: Settings, tmp_path: Path, damage: str) -> None:
    create_backup(settings, tmp_path / "b")
    backup, key = tmp_path / "b", tmp_path / "b" / "home" / "admin.key"
    document = json.loads((backup / RECORD).read_text())
    if damage == "changed":
        key.write_text("fw_kez")
    elif damage == "missing":
        key.unlink()
    elif damage == "added":
        (backup / "home" / "evil").touch()
    elif damage == "linked":
        key.unlink()
        key.symlink_to("/etc/hostname")
    elif damage == "format":
        document["format"] = 2
    elif damage == "path":
        document["files"]["../evil"] = document["files"]["admin.key"]
    (backup / RECORD).write_text(json.dumps(document) if damage != "cut" else "{")
    with pytest.raises(FailedPrecondition):
        restore_backup(Settings(home=tmp_path / "fresh"), backup, replace=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "home"]


def test_home_with_something_in_it_is_kept_unless_told_otherwise(settings: Settings, tmp_path: Path) -> None:
    create_backup(settings, tmp_path / "b")
    (settings.home / "admin.key").write_text("newer")
    before = state_of(settings.home)
    with pytest.raises(FailedPrecondition, match="is not empty"):
        restore_backup(settings, tmp_path / "b", replace=False)
    assert state_of(settings.home) == before
    _, former = restore_backup(settings, tmp_path / "b", replace=True)
    assert former is not None
    assert (former / "admin.key").read_text() == "newer"
    assert (settings.home / "admin.key").read_text() == "fw_key"


def test_home_that_is_served_is_never_replaced(settings: Settings, tmp_path: Path) -> None:
    create_backup(settings, tmp_path / "b")
    before = state_of(settings.home)
    with try_lock(settings.home / SERVING, shared=True) as free:
        assert free
        with pytest.raises(FailedPrecondition, match="runs over"):
            restore_backup(settings, tmp_path / "b", replace=True)
    assert state_of(settings.home) == before | {SERVING: b""}
    with try_lock(settings.home / SERVING) as free, pytest.raises(FailedPrecondition, match="being restored"):
        hold_home(settings.home)


def test_backup_names_sessions_whose_files_it_cannot_hold(settings: Settings, tmp_path: Path) -> None:
    engine = open_engine(settings.control_database_url)
    with writing(engine) as db:
        record_snapshot(db, "1-abcd", 7, None)
    engine.dispose()
    assert create_backup(settings, tmp_path / "b").unsaved == ["1-abcd"]


@pytest.mark.parametrize("gone", ["platform/blobs/abc", "platform/models/acme", "workspaces"])
def test_backup_that_misses_what_its_databases_name_is_none(settings: Settings, tmp_path: Path, gone: str) -> None:
    path = settings.home / gone
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    with pytest.raises(FailedPrecondition):
        create_backup(settings, tmp_path / "b")
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


def test_existing_target_is_not_written_to(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    with pytest.raises(FailedPrecondition, match="exists already"):
        create_backup(settings, tmp_path / "b")
    assert list((tmp_path / "b").iterdir()) == []


def test_copy_of_a_database_is_of_one_moment_while_it_is_written(tmp_path: Path) -> None:
    """A writer keeps two tables equal in each transaction; so they are in every copy."""
    engine = open_engine(f"sqlite:///{tmp_path / 'a.db'}")
    with engine.begin() as db:
        for table in "ab":
            db.exec_driver_sql(f"CREATE TABLE {table} (n INTEGER, filler TEXT)")
    done = threading.Event()

    def write() -> None:
        number = 0
        while not done.is_set():
            number += 1
            with engine.begin() as db:
                for table in "ab":
                    db.exec_driver_sql(f"INSERT INTO {table} VALUES (?, ?)", (number, os.urandom(2000).hex()))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for index in range(5):
            copy_sqlite(tmp_path / "a.db", tmp_path / f"copy{index}.db")
    finally:
        done.set()
        writer.join()
        engine.dispose()
    counts: list[int] = []
    for index in range(5):
        with sqlite3.connect(tmp_path / f"copy{index}.db") as db:
            (a,), (b,) = (db.execute(f"SELECT max(n) FROM {table}").fetchone() for table in "ab")
        db.close()
        assert a == b
        counts.append(a or 0)
    assert counts == sorted(counts)


def test_record_is_read_back(settings: Settings, tmp_path: Path) -> None:
    assert create_backup(settings, tmp_path / "b") == read_record(tmp_path / "b")
