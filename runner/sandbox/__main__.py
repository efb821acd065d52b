"""`python -m runner.sandbox --check`: print each protection of both profiles and exit 1 if one does not hold."""

import argparse
import json
import sys

from pilotlight.settings import Settings
from runner.sandbox.check import check_sandbox, summarize


def main() -> int:
    """Run the check; `--json` prints a summary by family for other programs."""
    parser = argparse.ArgumentParser(prog="python -m runner.sandbox", description=__doc__)
    parser.add_argument("--check", action="store_true", required=True)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    findings = check_sandbox(Settings().sandbox_uid_base)
    if options.json:
        sys.stdout.write(json.dumps([finding._asdict() for finding in summarize(findings)]) + "\n")
    else:
        for finding in findings:
            sys.stdout.write(
                f"{'ok  ' if finding.ok else 'OPEN'} {finding.name}{'' if finding.ok else ': ' + finding.problem}\n"
            )
    return 0 if all(finding.ok for finding in findings) else 1


if __name__ == "__main__":
    sys.exit(main())
