"""The stage of the conformance suite: as runner.sandbox.stage, with a terminal to lose and protections to take away."""

import fcntl
import json
import os
import sys
import termios

from runner.sandbox.bwrap import list_binds
from runner.sandbox.conformance.ablations import ablate, extra_binds
from runner.sandbox.conformance.probe import Bait
from runner.sandbox.spec import read_spec
from runner.sandbox.stage import bind_life, build_start, drop_root, execute


def main() -> None:
    """Arguments: as for runner.sandbox.stage, then the ablations ("" for none), the bait, a terminal's descriptor."""
    spec, bwrap, names = read_spec(sys.argv[1]), sys.argv[2], sys.argv[4]
    bait, terminal = Bait(**json.loads(sys.argv[5])), int(sys.argv[6])
    fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
    os.close(terminal)
    binds = drop_root([*list_binds(spec), *extra_binds(names, bait)], spec.uid)
    bind_life(int(sys.argv[3]))
    start = build_start(bwrap, binds, spec)
    execute(ablate(start, names, bait) if names else start)
