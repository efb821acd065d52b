"""Entry of the sandboxed process: one turn of one session.

Reads PILOTLIGHT_SOCKET (default /run/gateway/gateway.sock), PILOTLIGHT_WORKSPACE (default /work) and
PILOTLIGHT_POLL_SECONDS (default 1). Exit code 0 when the turn asked or finished; 1 with the reason on standard error
otherwise, and the control process fails the turn.
"""

import logging
import os
import sys
from pathlib import Path

from pilotlight.crashpoints import Point, reach

os.environ.setdefault("LANGGRAPH_STRICT_MSGPACK", "true")

from pilotlight.errors import PilotlightError
from runner.client import Client
from runner.context import TurnContext
from runner.planner import open_saver, run_turn
from runner.turn import Turn
from runner.workspace import Workspace


def main() -> int:
    """Run the turn."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    client = Client(Path(os.environ.get("PILOTLIGHT_SOCKET", "/run/gateway/gateway.sock")))
    workspace = Workspace(Path(os.environ.get("PILOTLIGHT_WORKSPACE", "/work")))
    try:
        context = TurnContext.model_validate(client.get("/turn/v1/context"))
        reach(Point.RUNNER_CONTEXT_READ)
        saver = open_saver(workspace.state / "graph.db")
        poll = float(os.environ.get("PILOTLIGHT_POLL_SECONDS", "1"))
        run_turn(Turn(client, workspace, context, poll), saver)
        saver.conn.close()
    except PilotlightError as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return 1
    finally:
        client.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
