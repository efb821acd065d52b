"""`python -m agent.serve`: the control process."""

import logging

import uvicorn

from agent.app import build_app
from pilotlight.settings import Settings


def main() -> None:
    """Serve until stopped; runners are stopped with it, and go on at the next start."""
    settings = Settings()
    logging.basicConfig(level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s")
    app = build_app(settings)
    # An event stream may stay open for hours; a stop must not wait for its reader.
    uvicorn.run(app, host=settings.host, port=settings.port, log_config=None, timeout_graceful_shutdown=3)


if __name__ == "__main__":
    main()
