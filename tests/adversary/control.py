"""`python -m tests.adversary.control`: the real control process, with adversaries in the place of planners.

Settings are read from the environment as always; with sandbox=none an adversary is a plain process, else it is in
bubblewrap.
"""

import logging
import sys

import uvicorn

from agent.app import build_app
from agent.launchers import PlainLauncher, SandboxLauncher, sandbox_limits
from pilotlight.settings import Settings

MODULE = "runner.adversary"


def main() -> None:
    """Serve until killed."""
    settings = Settings()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    plain = PlainLauncher([sys.executable, "-S", "-P", "-m", MODULE])
    boxed = SandboxLauncher(settings.sandbox_uid_base, sandbox_limits(settings), MODULE)
    launcher = plain if settings.sandbox == "none" else boxed
    uvicorn.run(
        build_app(settings, launcher),
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=1,
    )


if __name__ == "__main__":
    main()
