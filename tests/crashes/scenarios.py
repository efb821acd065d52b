"""The campaigns by name: what CI runs, and what `make crashes` runs with more of it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tests.crashes.campaign import Options
from tests.crashes.disturbances import LEASE_SECONDS
from tests.crashes.named import list_cases

_SHORT_LEASES = {"LEASE_SECONDS": str(LEASE_SECONDS), "BEAT_SECONDS": "0.5", "CONCURRENT_TURNS": "3"}
DISK_BYTES = 48 << 20


def named(seed: int, patterns: Sequence[str] = ("*",), hits: int = 3) -> Options:
    """Each crash point that matches; those that come often at their first `hits` hits."""
    return Options(seed, points=list_cases(patterns, hits), sessions=6, at_once=3, limit_seconds=3000)


def random(seed: int, kills: int, *, postgres: bool = False) -> Options:
    """Kills at random."""
    return Options(seed, kills, at_once=8, limit_seconds=900 + kills * 6.0, postgres=postgres)


def disturbed(name: str, seed: int, *, beside: tuple[str, ...] = ()) -> Options:
    """Sessions while something else than a kill goes wrong; what goes wrong `beside` it needs no world of its own."""
    options = Options(seed, disturbances=(name, *beside), sessions=4, at_once=4, limit_seconds=1500)
    more: dict[str, dict[str, Any]] = {
        "zombies": {"worker": True, "settings": _SHORT_LEASES},
        "full": {"disk_bytes": DISK_BYTES},
        "database": {"postgres": True},
    }
    return replace(options, **more.get(name, {}))
