"""One turn at work on this machine: workspace, socket, process, snapshot, and what is written down at its end."""

import asyncio
import logging
import os
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from sqlalchemy import Engine
from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp

from agent import turns
from agent.binding import bind_turn
from agent.history import find_base, newest_snapshot
from agent.launchers import Launcher
from agent.processes import stop_process, watch_process
from agent.sockets import serve_socket, socket_name
from agent.store import reading
from agent.sweeper import sweep_session
from agent.turns import Ending, Turn
from agent.workspace import Workspace
from pilotlight.crashpoints import Point, reach
from pilotlight.errors import PilotlightError, Unavailable
from pilotlight.settings import Settings
from runner.sandbox.child import Process

log = logging.getLogger(__name__)
_T = TypeVar("_T")


class Run:
    """`work` runs the turn to its end. `stop` ends it before, and its session goes on elsewhere if it still runs."""

    def __init__(self, engine: Engine, settings: Settings, launcher: Launcher, surface: ASGIApp, turn: Turn) -> None:
        self.turn = turn
        self._engine, self._settings, self._launcher, self._surface = engine, settings, launcher, surface
        self._process: Process | None = None
        self._stopped = False
        self.over = False
        """Whether the process has ended and only its end is still to be written down."""

    async def work(self) -> None:
        """Run the process and record its end. Raises what is a defect of ours."""
        try:
            ending = await self._run_process()
        except (PilotlightError, OSError) as error:
            self.over = True
            log.warning("Session %s could not run: %s", self.turn.session, error)
            message, hint = _explain(error)
            await self._record(partial(turns.fail_turn, self._engine, self.turn, message, hint))
            ending = Ending(None, "")
        self.over = True
        if self._stopped:
            await self.give_back()
        else:
            await self._record(partial(turns.end_turn, self._engine, self.turn, ending))
            await run_in_threadpool(sweep_session, self._engine, self._settings, self.turn.session)

    async def stop(self) -> None:
        """End the process; `work` returns soon after. Callable any number of times."""
        self._stopped = True
        if self._process is not None:
            await stop_process(self._process)

    async def give_back(self) -> None:
        """Let another worker go on with it, unless it is somebody else's already."""
        await self._record(partial(turns.give_back, self._engine, self.turn, "its worker was stopped"))

    async def _run_process(self) -> Ending:
        workspace, turn = Workspace(self._settings, self.turn.session), self.turn
        name = socket_name(turn.session, turn.epoch)
        base = await run_in_threadpool(self._prepare, workspace)
        async with serve_socket(self._settings, name, bind_turn(self._surface, turn)) as folder:
            self._process = await self._launcher(turn, workspace.work, folder)
            reach(Point.CONTROL_RUNNER_STARTED)
            if self._stopped:  # while it was being started
                await stop_process(self._process)
            ending = await watch_process(self._process, workspace.log)
        if not self._stopped:
            ending = ending._replace(snapshot=await run_in_threadpool(self._save, workspace, base))
        return ending

    def _prepare(self, workspace: Workspace) -> str | None:
        """Make the workspace ready; the name of the snapshot that the turn's own is built upon."""
        with reading(self._engine) as db:
            newest, base = newest_snapshot(db, self.turn.session), find_base(db, self.turn.session)
        workspace.prepare(self.turn.turn, newest.name if newest else None, self.turn.resident)
        return base

    def _save(self, workspace: Workspace, base: str | None) -> str | None:
        """Snapshot the workspace. The turn's work counts also when that fails, so its session only says so."""
        if not turns.is_present(self._engine, self.turn):
            return None  # the newest snapshot is its successor's to name
        try:
            return workspace.snapshots.save(workspace.work, self.turn.epoch, base)
        except (PilotlightError, OSError) as error:
            log.warning("No snapshot of session %s: %s", self.turn.session, error)
            message, hint = _explain(error)
            text = (
                f"This turn's files are not in a snapshot, so they could not be restored if they were lost. {message}"
            )
            turns.report_trouble(self._engine, self.turn, text, hint or "The log of the control process has more.")
            return None

    async def _record(self, write: Callable[[], _T]) -> _T:
        """Write; while the database is away try again, as long as the lease may last."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._settings.lease_seconds
        while True:
            try:
                return await run_in_threadpool(write)
            except Unavailable as error:
                if loop.time() > deadline:
                    raise
                log.warning("The end of a turn of session %s is written again: %s", self.turn.session, error)
            await asyncio.sleep(0.5)


def _explain(error: PilotlightError | OSError) -> tuple[str, str]:
    if isinstance(error, PilotlightError):
        return error.message, error.hint
    return os.strerror(error.errno) if error.errno else str(error), ""
