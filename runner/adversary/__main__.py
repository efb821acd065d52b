"""Entry: one turn of the adversary. Exit code 4 when the socket is gone, as after the end of the control process."""

import os
import signal
import sys
from pathlib import Path

from runner.adversary.turn import play, try_old_sockets
from runner.adversary.wire import Gone, Request, Wire
from runner.adversary.world import open_world

_LONGEST_SECONDS = 90


def main() -> int:
    """Run the turn; it ends by itself, whatever happens."""
    signal.alarm(_LONGEST_SECONDS)
    wire = Wire(Path(os.environ.get("PILOTLIGHT_SOCKET", "/run/gateway/gateway.sock")))
    workspace = Path(os.environ.get("PILOTLIGHT_WORKSPACE", "/work"))
    try:
        context = wire.send(Request("GET", "/turn/v1/context"))
        if context.code != 200:
            return 4
        world = open_world(wire, context.json(), workspace)
        try_old_sockets(world, wire.path.parent)
        return play(world)
    except Gone:
        return 4


if __name__ == "__main__":
    sys.exit(main())
