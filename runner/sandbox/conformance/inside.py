"""The program that runs in the sandbox: all probes of a kind, one JSON object of outcomes on standard output.

`python -m runner.sandbox.conformance.inside KIND BAIT`.
"""

import ctypes
import json
import os
import sys
from pathlib import Path

from runner.sandbox.conformance import calls, files, interpreter, legacy, network, privileges, processes, resources
from runner.sandbox.conformance.probe import Bait, Probe, run

_PR_GET_NO_NEW_PRIVS = 39
_HERE = "/opt/app/runner/sandbox/conformance"
_MODULES = (privileges, files, processes, legacy, network, interpreter, calls, resources)


def list_probes(kind: str) -> list[Probe]:
    """Every probe that applies to a kind of sandbox, in the order in which they run."""
    probes = [probe for module in _MODULES for probe in module.list_probes()]
    return [probe for probe in probes if probe.applies(kind)]


def refuse_outside() -> None:
    """Exit unless this is a sandbox of ours: the probes are harmless there, and nowhere else are they wanted."""
    confined = ctypes.CDLL(None).prctl(_PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1
    if os.getuid() == 0 or not confined or str(Path(__file__).parent) != _HERE:
        sys.exit("Probes run inside a sandbox only, and never as root. Use `python -m runner.sandbox --check`.")


def main() -> None:
    """Run the probes."""
    refuse_outside()
    kind, bait = sys.argv[1], Bait(**json.loads(sys.argv[2]))
    sys.stdout.write(json.dumps(run(list_probes(kind), bait)) + "\n")


if __name__ == "__main__":
    main()
