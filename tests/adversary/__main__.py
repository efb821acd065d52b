"""`python -m tests.adversary --sessions 2000 --seed 1`: a campaign from the command line; exit 1 on a violation."""

import argparse
import sys
import tempfile
from pathlib import Path

from tests.adversary.campaign import Options, run
from tests.adversary.case import load_case
from tests.adversary.checker import check
from tests.adversary.report import summarise


def main() -> int:
    """Run, check, print the summary."""
    parser = argparse.ArgumentParser(prog="python -m tests.adversary", description=__doc__)
    parser.add_argument("--sessions", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--sandbox", choices=("none", "bwrap"), default="none")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="adversary-") as folder:
        wanted = Options(options.sessions, options.seed, options.kills, options.sandbox, 60 + options.sessions * 5)
        evidence = run(wanted, Path(folder) / "home")
        case = load_case(evidence)
        violations = check(case)
    print(summarise(evidence, case, violations))
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
