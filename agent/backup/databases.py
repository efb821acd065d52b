"""Consistent copies of the databases while they are in use."""

import os
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

from sqlalchemy import make_url

from pilotlight.errors import FailedPrecondition, Unavailable

DUMP = "control.pgdump"


def copy_sqlite(source: Path, target: Path) -> None:
    """One transaction's view of `source`, as a file of its own. Writers go on meanwhile. Raises Unavailable."""
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        with (
            closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True, timeout=60)) as before,
            closing(sqlite3.connect(target)) as after,
        ):
            before.backup(after)  # all pages in one step: another process's write cannot make it start again
            _check(after, target.name)
    except sqlite3.Error as error:
        raise Unavailable(f"{source.name} could not be copied: {error}.", hint="Try again in a moment.") from error
    target.chmod(0o600)


def dump_postgres(url: str, target: Path) -> None:
    """The control database on a server, by `pg_dump`. Raises FailedPrecondition without it, Unavailable."""
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _run(["pg_dump", "--format=custom", "--no-owner", "--file", str(target), "--dbname"], url)
    target.chmod(0o600)


def load_postgres(url: str, source: Path) -> None:
    """Fill an empty database from a dump, in one transaction. Raises FailedPrecondition, Unavailable."""
    _run(["pg_restore", "--no-owner", "--single-transaction", "--exit-on-error", str(source), "--dbname"], url)


def _run(command: list[str], url: str) -> None:
    if shutil.which(command[0]) is None:
        raise FailedPrecondition(
            f"The control database is on PostgreSQL, and {command[0]} is not installed here.",
            hint="Install the PostgreSQL client tools of the server's version, such as postgresql-client.",
        )
    parsed = make_url(url)
    environment = os.environ | ({"PGPASSWORD": str(parsed.password)} if parsed.password else {})
    place = parsed.set(drivername="postgresql", password=None).render_as_string()
    done = subprocess.run([*command, place], env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unavailable(f"{command[0]} failed: {done.stderr.strip()[-500:]}")


def _check(database: sqlite3.Connection, name: str) -> None:
    (verdict,) = database.execute("PRAGMA quick_check").fetchone()
    if verdict != "ok":
        raise FailedPrecondition(f"{name} is damaged: {str(verdict)[:200]}.")
