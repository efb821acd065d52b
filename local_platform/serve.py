"""`python -m local_platform.serve`: the local platform as a process of its own."""

import logging

import uvicorn

from local_platform.app import build_app
from pilotlight.settings import Settings


def main() -> None:
    """Serve until SIGINT or SIGTERM."""
    settings = Settings()
    logging.basicConfig(level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    uvicorn.run(
        build_app(settings),
        host=settings.host,
        port=settings.platform_port,
        log_level=settings.log_level.lower(),
        access_log=False,
        timeout_graceful_shutdown=5,
    )


if __name__ == "__main__":
    main()
