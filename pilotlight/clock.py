"""Times are UTC: RFC 3339 on the wire, `2026-05-18 20:31:12` in text for people."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

_OFFSET_FILE = os.environ.get("PILOTLIGHT_CLOCK_OFFSET", "") if os.environ.get("PILOTLIGHT_CRASH_TESTS") == "1" else ""
"""A file with seconds to add to each reading: how the crash campaign has a clock jump under a running process."""


def now() -> datetime:
    """The current time, aware, UTC."""
    moment = datetime.now(UTC)
    return moment + timedelta(seconds=float(Path(_OFFSET_FILE).read_text())) if _OFFSET_FILE else moment


def as_utc(value: datetime) -> datetime:
    """An aware UTC time; naive values (as SQLite returns them) are taken as UTC."""
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def to_rfc3339(value: datetime) -> str:
    """`2026-05-18T20:31:12.123456Z`."""
    return as_utc(value).isoformat(timespec="microseconds").replace("+00:00", "Z")


def parse_rfc3339(value: str) -> datetime:
    """The inverse of to_rfc3339; raises ValueError."""
    return as_utc(datetime.fromisoformat(value.replace("Z", "+00:00")))


def for_people(value: datetime) -> str:
    """`2026-05-18 20:31:12` [DESIGN section 10]."""
    return as_utc(value).strftime("%Y-%m-%d %H:%M:%S")
