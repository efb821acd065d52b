"""`python -m tests.crashes --kills 300 --seed 1 [--database postgres]`: random kills, checked; exit 1 on a violation.

`--scenario all` adds each crash point and everything else that goes wrong; `--scenario zombies` runs only that.
"""

import argparse
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from tests.crashes import scenarios
from tests.crashes.campaign import Options, run
from tests.crashes.case import load_case
from tests.crashes.checker import check
from tests.crashes.disturbances import DISTURBANCES
from tests.crashes.report import summarise

_OF_SQLITE = ("locked", "full")
"""The lock is one of SQLite's file, and the disk is the home's."""


def main() -> int:
    """Run what is asked for, one after the other; what was found is kept in its folder."""
    parser = argparse.ArgumentParser(prog="python -m tests.crashes", description=__doc__)
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scenario", choices=["random", "points", *DISTURBANCES, "all"], default="random")
    parser.add_argument("--database", choices=["sqlite", "postgres"], default="sqlite")
    parser.add_argument("--limit", type=float, default=0.0, help="seconds after which what is not at rest has failed")
    parser.add_argument("--points", nargs="+", default=["*"], help="which crash points of `--scenario points`")
    given = parser.parse_args()
    postgres = given.database == "postgres"
    names = ["points", *DISTURBANCES, "random"] if given.scenario == "all" else [given.scenario]
    if postgres:
        names = [name for name in names if name not in _OF_SQLITE]
    if not names:
        parser.error(f"--scenario {given.scenario} is about SQLite's file; leave --database out")
    chosen = [(name, _choose(name, given, postgres=postgres)) for name in names]
    if given.limit:
        chosen = [(name, replace(options, limit_seconds=given.limit)) for name, options in chosen]
    return max(_run(name, options) for name, options in chosen)


def _choose(name: str, given: argparse.Namespace, *, postgres: bool) -> Options:
    if name == "random":
        return scenarios.random(given.seed, given.kills, postgres=postgres)
    options = scenarios.named(given.seed, given.points) if name == "points" else scenarios.disturbed(name, given.seed)
    return replace(options, postgres=options.postgres or postgres)


def _run(name: str, options: Options) -> int:
    folder = Path(tempfile.mkdtemp(prefix=f"crashes-{name}-")) / "world"
    evidence = run(options, folder)
    violations = check(load_case(evidence), timed="clock" not in options.disturbances)
    print(f"{name}: {summarise(evidence, violations)}\neverything is in {folder}", flush=True)
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
