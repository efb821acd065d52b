"""`python -m local_platform.serve`: the local platform as a process of its own."""

import logging

import uvicorn

from local_platform.app import build_app
from local_platform.jobs.launcher import Launcher
from local_platform.serving.manager import EngineFactory, load_local_engine
from pilotlight.locks import hold_home
from pilotlight.redaction import secrets_of, start_logging
from pilotlight.settings import Settings


def main(launcher: Launcher | None = None, engine: EngineFactory = load_local_engine) -> None:
    """Serve until SIGINT or SIGTERM. `launcher` and `engine` are build_app's."""
    redact = start_logging()
    settings = Settings()
    redact.learn(secrets_of(settings))
    logging.getLogger().setLevel(settings.log_level.upper())
    hold_home(settings.home)
    uvicorn.run(
        build_app(settings, launcher, engine),
        host=settings.host,
        port=settings.platform_port,
        log_config=None,  # uvicorn's own handlers would write past the redaction
        log_level=settings.log_level.lower(),
        access_log=False,
        timeout_graceful_shutdown=5,
    )


if __name__ == "__main__":
    main()
