"""The stage of the conformance suite: as runner.sandbox.stage, with a terminal to lose and protections to take away."""

import fcntl
import json
import os
import sys
import termios

from runner.sandbox.bwrap import list_binds
from runner.sandbox.conformance.ablations import ablate, extra_binds
from runner.sandbox.conformance.probe import Bait
from runner.sandbox.spec import LaunchSpec
from runner.sandbox.stage import build_start, drop_root, execute


def main() -> None:
    """Arguments: the LaunchSpec, the path of bwrap, the ablations ("" for none), the bait, a terminal's descriptor."""
    spec, bwrap, names = LaunchSpec.model_validate_json(sys.argv[1]), sys.argv[2], sys.argv[3]
    bait, terminal = Bait(**json.loads(sys.argv[4])), int(sys.argv[5])
    fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
    os.close(terminal)
    binds = drop_root([*list_binds(spec), *extra_binds(names, bait)], spec.uid)
    start = build_start(bwrap, binds, spec)
    execute(ablate(start, names, bait) if names else start)
