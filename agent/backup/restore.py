"""Make a home from a backup: everything is checked first, built aside, and renamed into place last."""

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from sqlalchemy import inspect

from agent.backup.create import STORE
from agent.backup.databases import DUMP, load_postgres
from agent.backup.record import FILES, Record, check_files, read_record
from pilotlight.clock import now
from pilotlight.database import open_engine
from pilotlight.errors import FailedPrecondition
from pilotlight.locks import SERVING, try_lock
from pilotlight.settings import Settings


def restore_backup(settings: Settings, source: Path, *, replace: bool) -> tuple[Record, Path | None]:
    """Make `settings.home` from the backup `source`; returns what it held, and where the former home is now.

    Raises FailedPrecondition for a damaged backup, for a home with something in it unless `replace` is given, and
    while a server runs over it; Unavailable, OSError. The home is as it was then.
    """
    record, home = read_record(source), settings.home.absolute()
    occupied = home.exists() and any(home.iterdir())
    if occupied and not replace:
        raise FailedPrecondition(
            f"{home} is not empty.", hint="Choose another PILOTLIGHT_HOME, or move it aside with --replace-home."
        )
    check_files(source, record)
    if record.database == "postgresql":
        _check_empty(settings)
    if not occupied:
        return record, _build(settings, source, record, home)
    with try_lock(home / SERVING) as free:
        if not free:
            raise FailedPrecondition(f"Pilotlight runs over {home}.", hint="Stop it first: Ctrl-C of `pilotlight up`.")
        return record, _build(settings, source, record, home)


def _build(settings: Settings, source: Path, record: Record, home: Path) -> Path | None:
    part = home.with_name(f".{home.name}.restoring")
    shutil.rmtree(part, ignore_errors=True)
    home.parent.mkdir(parents=True, exist_ok=True)
    try:
        part.mkdir(mode=0o700)
        shutil.copytree(source / FILES, part, symlinks=True, dirs_exist_ok=True)
        _close(part)
        if (part / "platform" / "platform.db").exists():
            _move_paths(part / "platform" / "platform.db", record.home, str(home))
        if record.database == "postgresql":
            load_postgres(settings.control_database_url, part / DUMP)
            (part / DUMP).unlink()
        former = None
        if home.exists():
            former = home.with_name(f"{home.name}.before-{now():%Y%m%d-%H%M%S}")
            home.rename(former)
        part.rename(home)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    if former is not None and not any(path.name != SERVING for path in former.iterdir()):
        shutil.rmtree(former)
        former = None
    _place_store(settings, home)
    return former


def _place_store(settings: Settings, home: Path) -> None:
    """A store in a folder of its own goes back there; one that has something already is kept beside, and said."""
    place = Path(settings.workspace_store) if settings.workspace_store else home / STORE
    if "://" in settings.workspace_store or place == home / STORE or not (home / STORE).exists():
        return
    if place.exists() and any(place.iterdir()):
        raise FailedPrecondition(
            f"The home is restored, but the workspace store {place} is not empty.",
            hint=f"{home / STORE} has the backup's: compare them, or let PILOTLIGHT_WORKSPACE_STORE name that.",
        )
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(home / STORE, place, dirs_exist_ok=True)
    shutil.rmtree(home / STORE)


def _close(root: Path) -> None:
    """Keys are in it: everything is its owner's alone."""
    for path in root.rglob("*"):
        if not path.is_symlink():
            path.chmod(0o700 if path.is_dir() else 0o600)


def _move_paths(database: Path, former: str, home: str) -> None:
    """Models are named by their full path: those of the former home are now in this one."""
    with closing(sqlite3.connect(database)) as db, db:
        for name, text in db.execute("SELECT name, body FROM platform_model").fetchall():
            body = json.loads(text)
            for field in ("_directory", "directory"):
                if str(body.get(field, "")).startswith(former + "/"):
                    body[field] = home + body[field].removeprefix(former)
            db.execute("UPDATE platform_model SET body = ? WHERE name = ?", (json.dumps(body), name))


def _check_empty(settings: Settings) -> None:
    engine = open_engine(settings.control_database_url)
    try:
        if inspect(engine).get_table_names():
            raise FailedPrecondition(
                "The control database is not empty.",
                hint="Give a new one in PILOTLIGHT_DATABASE_URL, or drop its tables.",
            )
    finally:
        engine.dispose()
