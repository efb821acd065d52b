"""Take a backup while everything runs: databases first, then the files that they name, which are written once.

The control database comes before the platform's: what was created in between is then found again by its ID when the
restored session asks for it once more, while the other order would miss what a session relies on.
"""

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from sqlmodel import func, select

from agent.backup.databases import DUMP, copy_sqlite, dump_postgres
from agent.backup.record import DEEPEST, FILES, FORMAT, MOST_ENTRIES, RECORD, Record, scan
from agent.history import newest_snapshot
from agent.objects import FolderStore, ObjectStore, open_store
from agent.snapshots import Snapshots, parse_name
from agent.store import reading
from agent.sweeper import lock_of
from agent.tables import SessionRow, SnapshotRow
from pilotlight import __version__
from pilotlight.archive import Bounds, folder_at, open_regular, walk_tree
from pilotlight.clock import now, to_rfc3339
from pilotlight.database import open_engine
from pilotlight.errors import FailedPrecondition
from pilotlight.locks import try_lock
from pilotlight.settings import Settings

STORE = "workspaces"
_ROOT_FILES = ("admin.key", "audit.head")
_PLATFORM_SKIPPED = frozenset({"platform.db", "platform.db-wal", "platform.db-shm", "uploads"})
_ATTEMPTS = 3


def create_backup(settings: Settings, target: Path) -> Record:
    """Make the folder `target`; returns what it holds. It is made aside, checked, and named last.

    Raises FailedPrecondition when `target` exists, without a home, and when the files do not fit the databases;
    Unavailable, OSError.
    """
    if target.exists():
        raise FailedPrecondition(f"{target} exists already.", hint="Give a new folder; nothing was written.")
    if not settings.home.is_dir():
        raise FailedPrecondition(f"There is no home at {settings.home}.", hint="Set PILOTLIGHT_HOME.")
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(mode=0o700)
    try:
        with try_lock(lock_of(settings), wait=True):
            record = _fill(settings, part)
        (part / RECORD).write_text(record.model_dump_json(indent=1))
        (part / RECORD).chmod(0o600)
        part.rename(target)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return record


def _fill(settings: Settings, part: Path) -> Record:
    files, store = part / FILES, open_store(settings)
    for name in _ROOT_FILES:
        if (settings.home / name).exists():
            _copy_file(settings.home / name, files / name)
    _copy_control(settings, files)
    if isinstance(store, FolderStore) and store.root.exists():
        _copy_tree(store.root, files / STORE)
    _copy_platform(settings.platform_home, files / "platform")
    sessions, unsaved = _check_snapshots(settings, files, store)
    return Record(
        format=FORMAT,
        pilotlight=__version__,
        time=to_rfc3339(now()),
        home=str(settings.home.resolve()),
        database="sqlite" if settings.control_database_url.startswith("sqlite") else "postgresql",
        store="home" if isinstance(store, FolderStore) else settings.workspace_store,
        sessions=sessions,
        unsaved=unsaved,
        files=scan(files),
    )


def _copy_control(settings: Settings, files: Path) -> None:
    url = settings.control_database_url
    if url.startswith("sqlite"):
        copy_sqlite(Path(url.removeprefix("sqlite:///")), files / "control.db")
    else:
        dump_postgres(url, files / DUMP)


def _copy_platform(home: Path, target: Path) -> None:
    """Until the files fit the database: a dataset or model that is deleted meanwhile may miss its content."""
    if not (home / "platform.db").exists():
        return
    missing: list[str] = []
    for _ in range(_ATTEMPTS):
        shutil.rmtree(target, ignore_errors=True)
        copy_sqlite(home / "platform.db", target / "platform.db")
        for path in sorted(home.iterdir()):
            if path.is_dir() and path.name not in _PLATFORM_SKIPPED:
                _copy_tree(path, target / path.name)
            elif path.is_file() and path.name not in _PLATFORM_SKIPPED:
                _copy_file(path, target / path.name)
        missing = [str(path) for path in _named(target / "platform.db", home) if not (target / path).exists()]
        if not missing:
            return
    raise FailedPrecondition(
        f"The platform's database names {missing[0]}, which is not there.",
        hint="Try again; then see the platform's log.",
    )


def _named(database: Path, home: Path) -> Iterator[Path]:
    """Files and folders of the platform that its database names, relative to its home."""
    with closing(sqlite3.connect(database)) as db:
        blobs = db.execute("SELECT json_extract(body, '$.contentHash') FROM platform_dataset WHERE state = 'READY'")
        yield from (Path("blobs", digest) for (digest,) in blobs if digest)
        folders = db.execute("SELECT json_extract(body, '$._directory') FROM platform_model WHERE state = 'READY'")
        for (folder,) in folders:
            if folder and Path(folder).is_relative_to(home):
                yield Path(folder).relative_to(home)


def _check_snapshots(settings: Settings, files: Path, store: ObjectStore) -> tuple[int, list[str]]:
    """How many sessions there are, and which have files that no snapshot holds. Reads the copy where there is one."""
    copied = files / "control.db"
    engine = open_engine(f"sqlite:///{copied}" if copied.exists() else settings.control_database_url)
    own = FolderStore(files / STORE) if isinstance(store, FolderStore) else store
    try:
        with reading(engine) as db:
            count = db.exec(select(func.count()).select_from(SessionRow)).one()
            rows = [newest_snapshot(db, one) for one in db.exec(select(SnapshotRow.session_id).distinct()).all()]
    finally:
        engine.dispose()
        for rest in ("-wal", "-shm"):
            copied.with_name(copied.name + rest).unlink(missing_ok=True)
    bounds = Bounds(total_bytes=settings.snapshot_bytes)
    for row in rows:
        if row is not None and row.name:
            _check_snapshot(own, row, bounds)
    return count, sorted(row.session_id for row in rows if row is not None and not row.name)


def _check_snapshot(store: ObjectStore, row: SnapshotRow, bounds: Bounds) -> None:
    """All content is there; that it is what it should be, its name says when it is restored."""
    snapshots = Snapshots(store, row.session_id, Path(), bounds)
    there = set(store.places(row.session_id))
    wanted = {(entry.epoch, entry.digest) for entry in snapshots.entries(row.name) if entry.digest}
    if missing := (wanted | {tuple(parse_name(row.name))}) - there:
        raise FailedPrecondition(
            f"The workspace store misses {len(missing)} parts of the newest snapshot of session {row.session_id}.",
            hint="Put them back from an earlier backup, or delete the session.",
        )


def _copy_tree(source: Path, target: Path) -> None:
    """Files by descriptor, links as links, nothing else; what is renamed or removed meanwhile is left out."""
    target.mkdir(mode=0o700, parents=True)
    with folder_at(source) as root:
        for found in walk_tree(root, entries=MOST_ENTRIES, depth=DEEPEST, strict=False):
            goal, kind = target / found.path, found.info.st_mode & 0o170000
            if found.name.endswith(".part"):
                continue
            if kind == 0o040000:
                goal.mkdir(mode=0o700, exist_ok=True)
            elif kind == 0o120000:
                goal.symlink_to((source / found.path).readlink())
            elif kind == 0o100000:
                _copy_file(Path(found.name), goal, found.folder)


def _copy_file(source: Path, target: Path, parent: int | None = None) -> None:
    try:
        descriptor, _ = open_regular(source, parent)
    except FileNotFoundError:
        return
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with os.fdopen(descriptor, "rb") as file, target.open("xb") as copy:
        target.chmod(0o600)
        shutil.copyfileobj(file, copy, 1 << 20)
