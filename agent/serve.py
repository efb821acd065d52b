"""`python -m agent.serve`: the control process."""

import logging
import resource
import sys
import time

import uvicorn
from pydantic import SecretStr

from agent.app import build_app
from agent.launchers import Launcher
from agent.protocol import guard
from pilotlight.errors import FailedPrecondition, PilotlightError
from pilotlight.locks import hold_home
from pilotlight.redaction import secrets_of, start_logging
from pilotlight.settings import Settings

log = logging.getLogger(__name__)
_PATIENCE_SECONDS = 120
_OTHER_FILES = 512
"""Open files beside users' connections: databases, turns, their sockets and logs, the platform."""


def main(launcher: Launcher | None = None) -> None:
    """Serve until stopped; runners are stopped with it, and go on at the next start.

    `launcher` starts the runners, the one that the settings ask for when None.
    """
    settings = prepare_process()
    app = build_app(settings, launcher)
    log.info("Serving %s", settings.control_url)
    # An event stream may stay open for hours; a stop must not wait for its reader.
    uvicorn.run(
        app,
        host=settings.host,
        port=settings.port,
        http=guard(settings, fit_connections(settings.connections)),
        ws="none",
        log_config=None,
        timeout_graceful_shutdown=3,
    )


def fit_connections(wanted: int) -> int:
    """How many connections the limit of open files has room for, which is raised as far as it may be and as needed.

    Running out of files would also stop turns and the database, so the number of connections gives way.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + _OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(hard, needed)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return wanted
    room = max(soft - _OTHER_FILES, soft // 2)
    log.warning(
        "Only %d of %d connections fit into %d open files. Raise the hard limit: ulimit -Hn.", room, wanted, soft
    )
    return room


def prepare_process() -> Settings:
    """Start logging without secrets, and read the settings of a process that has a gateway."""
    redact = start_logging()
    settings = with_platform_key(Settings())
    redact.learn(secrets_of(settings))
    logging.getLogger().setLevel(settings.log_level.upper())
    for noisy in ("httpx", "uvicorn.error"):  # a turn's socket is a server too: it would say so at each turn
        logging.getLogger(noisy).setLevel(logging.WARNING)
    hold_home(settings.home)
    return settings


def with_platform_key(settings: Settings) -> Settings:
    """The settings with the gateway's key: the local platform writes one on its first start, waited for here.

    Raises FailedPrecondition when there is none.
    """
    if settings.platform_key.get_secret_value():
        return settings
    if settings.backend != "local":
        raise FailedPrecondition("No platform key.", hint="Set PILOTLIGHT_PLATFORM_KEY.")
    path, deadline = settings.platform_home / "admin.key", time.monotonic() + _PATIENCE_SECONDS
    while not path.exists():
        if time.monotonic() > deadline:
            raise FailedPrecondition(
                f"The local platform has not written {path}.", hint="Start it: `python -m local_platform.serve`."
            )
        time.sleep(0.2)
    return settings.model_copy(update={"platform_key": SecretStr(path.read_text().strip())})


if __name__ == "__main__":
    try:
        main()
    except PilotlightError as error:  # no traceback: it says what is wrong and what to do
        sys.exit(f"Error: {error}")
