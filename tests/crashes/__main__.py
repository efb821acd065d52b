"""`python -m tests.crashes --kills 300 --seed 1 [--database URL]`: random kills, checked; exit 1 on a violation."""

import argparse
import sys
import tempfile
from pathlib import Path

from tests.crashes.campaign import Options, run
from tests.crashes.case import load_case
from tests.crashes.checker import check
from tests.crashes.report import summarise


def main() -> int:
    """Run, check, print the summary; what was found is kept in its folder."""
    parser = argparse.ArgumentParser(prog="python -m tests.crashes", description=__doc__)
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--sessions", type=int, default=8)
    parser.add_argument("--at-once", type=int, default=8)
    parser.add_argument("--database", default="sqlite", help="sqlite, or the URL of an empty PostgreSQL database")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="crashes-")) / "world"
    database = "" if given.database == "sqlite" else given.database
    limit = 120 + given.kills * 3.0
    wanted = Options(
        given.seed, given.kills, sessions=given.sessions, at_once=given.at_once, limit_seconds=limit, database=database
    )
    evidence = run(wanted, folder)
    violations = check(load_case(evidence))
    print(summarise(evidence, violations))
    print(f"everything is in {folder}")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
