"""`python -m agent.worker`: runs turns beside a control process, on its machine or another one. Serves no port.

It shares the control process's database, and has a gateway of its own, so it holds the platform's key as well.
"""

import asyncio
import logging
import signal

from agent.app import at_work, open_control
from agent.launchers import Launcher
from agent.serve import prepare_process
from pilotlight.settings import Settings

log = logging.getLogger(__name__)


def main(launcher: Launcher | None = None) -> None:
    """Work until SIGTERM or SIGINT; runners are stopped with it, and go on elsewhere.

    `launcher` starts the runners, the one that the settings ask for when None.
    """
    asyncio.run(_work(prepare_process(), launcher))


async def _work(settings: Settings, launcher: Launcher | None) -> None:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with at_work(open_control(settings, launcher)):
        log.info("Working on up to %d turns at a time.", settings.concurrent_turns)
        await stop.wait()


if __name__ == "__main__":
    main()
