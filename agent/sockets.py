"""One Unix socket per turn, served inside the control process. Whoever can open it is that turn, and nobody else.

The folder carries the epoch: a runner of an earlier turn is bound to another folder, so a zombie finds nobody.
"""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from agent.protocol import guard
from pilotlight.errors import Internal
from pilotlight.settings import Settings

SOCKET_NAME = "gateway.sock"
_LONGEST = 100
"""The kernel takes 107 bytes."""


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Signals belong to the process's main server."""
        yield


@asynccontextmanager
async def serve_socket(settings: Settings, name: str, app: ASGIApp) -> AsyncGenerator[Path]:
    """Serve `app` on a new socket; yields its folder, which is gone afterwards.

    The folder is closed to other users; the sandbox launcher hands it to the session's own.
    """
    folder = _make_folder(settings, name)
    try:
        config = uvicorn.Config(
            app,
            uds=str(folder / SOCKET_NAME),
            http=guard(settings, settings.turn_connections),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=2,
        )
        server = _Server(config)
        task = asyncio.create_task(server.serve())
        try:
            await _wait_started(server, task)
            yield folder
        finally:
            server.should_exit = True
            await asyncio.shield(task)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def socket_name(session: str, epoch: int) -> str:
    """Of a turn: the folder of its socket."""
    return f"{session}-{epoch}"


def remove_socket(settings: Settings, name: str) -> None:
    """Remove what a killed process left of its socket."""
    shutil.rmtree(_folder_of(settings, name), ignore_errors=True)


def _folder_of(settings: Settings, name: str) -> Path:
    return settings.home.absolute() / "run" / name


async def _wait_started(server: uvicorn.Server, task: "asyncio.Task[None]") -> None:
    while not server.started:
        if task.done():
            raise Internal("The socket of the turn could not be served.")
        await asyncio.sleep(0.005)


def _make_folder(settings: Settings, name: str) -> Path:
    folder = _folder_of(settings, name)
    if len(str(folder / SOCKET_NAME)) > _LONGEST:
        return Path(tempfile.mkdtemp(prefix="pilotlight-"))
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700, parents=True)
    return folder
