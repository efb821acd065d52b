"""The real control process of a campaign: only its runners are born by the nursery instead of started anew."""

import os
from pathlib import Path

import agent.serve
import agent.worker
from agent.launchers import Launcher
from agent.sockets import SOCKET_NAME
from agent.turns import Turn
from runner.sandbox.child import Process
from tests.crashes.births import NURSERY, bear_runner

POLL_SECONDS = "0.1"


class NurseryLauncher(Launcher):
    """Has each runner born by the nursery, without a sandbox."""

    async def __call__(self, turn: Turn, workspace: Path, socket_folder: Path) -> Process:
        """See agent.launchers.Launcher."""
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(workspace),
            "PILOTLIGHT_SOCKET": str(socket_folder / SOCKET_NAME),
            "PILOTLIGHT_WORKSPACE": str(workspace),
            "PILOTLIGHT_POLL_SECONDS": POLL_SECONDS,
            NURSERY: os.environ[NURSERY],
        }
        return await bear_runner(environment, workspace, turn.session)


def work(_arguments: list[str]) -> int:
    """Run turns beside the control process until killed or stopped."""
    agent.worker.main(NurseryLauncher())
    return 0


def main(_arguments: list[str]) -> int:
    """Serve until killed or stopped."""
    agent.serve.main(NurseryLauncher())
    return 0
