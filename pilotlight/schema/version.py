"""The table `schema_version`: one row for each step that the database has behind it; the highest is its version.

Version 1 is the schema of the release before there were versions: a database without the table has it, or is empty.
"""

import re
from collections.abc import Callable
from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from sqlalchemy import Connection, inspect, text

from pilotlight import __version__
from pilotlight.clock import now, to_rfc3339
from pilotlight.schema import steps

Step = Callable[[Connection], None]
_NAME = re.compile(r"step_(\d{4})_\w+")
_TABLE = "schema_version"
_CREATE = text(
    f"CREATE TABLE {_TABLE} (version INTEGER NOT NULL PRIMARY KEY, release VARCHAR NOT NULL, time VARCHAR NOT NULL)"
)
_INSERT = text(f"INSERT INTO {_TABLE} (version, release, time) VALUES (:version, :release, :time)")
_READ = text(f"SELECT MAX(version) FROM {_TABLE}")


@cache
def all_steps() -> dict[int, Step]:
    """The steps by the version that they lead to: 2, 3, ... without a gap."""
    names = sorted(module.name for module in iter_modules(steps.__path__))
    numbers = [int(match[1]) for name in names if (match := _NAME.fullmatch(name))]
    if len(numbers) != len(names) or numbers != list(range(2, len(names) + 2)):
        raise ImportError(f"The steps of the schema are to be step_0002_..., step_0003_..., one of each: {names}")
    return {
        number: import_module(f"{steps.__name__}.{name}").upgrade for number, name in zip(numbers, names, strict=True)
    }


LATEST = max(all_steps(), default=1)
"""What this release needs."""


def has_versions(db: Connection) -> bool:
    """Whether the database has the table."""
    return inspect(db).has_table(_TABLE)


def read_version(db: Connection) -> int | None:
    """The database's version, None for one without tables of ours."""
    if has_versions(db):
        return db.execute(_READ).scalar_one()
    return 1 if inspect(db).has_table("sessions") else None


def record_version(db: Connection, version: int) -> None:
    """Note that the database has reached this version."""
    if not has_versions(db):
        db.execute(_CREATE)
    db.execute(_INSERT, {"version": version, "release": __version__, "time": to_rfc3339(now())})
