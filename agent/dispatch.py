"""The dispatcher: one task per active session, one runner process per turn. Waiting sessions have nothing here.

A small interface on purpose (enqueue, stop, start, close): a durable queue may take its place.
"""

import asyncio
import logging
import os
from functools import partial

from sqlalchemy import Engine
from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp

from agent import turns
from agent.binding import bind_turn
from agent.history import find_base, newest_snapshot
from agent.launchers import Launcher
from agent.processes import stop_process, watch_process
from agent.sockets import serve_socket
from agent.store import reading
from agent.sweeper import sweep_session
from agent.turns import Ending, Turn
from agent.workspace import Workspace
from pilotlight.errors import PilotlightError
from pilotlight.settings import Settings
from runner.sandbox.child import Process

log = logging.getLogger(__name__)


class Dispatcher:
    """Runs the turns of pending sessions, at most `settings.concurrent_turns` at a time; the others queue."""

    def __init__(self, engine: Engine, settings: Settings, launcher: Launcher) -> None:
        self._engine, self._settings, self._launcher = engine, settings, launcher
        self._slots = asyncio.Semaphore(settings.concurrent_turns)
        self._wanted: set[str] = set()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._running: set[str] = set()
        self._stopped: set[str] = set()
        self._processes: dict[str, Process] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._surface: ASGIApp | None = None

    async def start(self, surface: ASGIApp) -> None:
        """Begin to work, with what an earlier control process left behind. `surface` is what runners reach."""
        self._loop, self._surface = asyncio.get_running_loop(), surface
        self._launcher.start()
        for session_id in await run_in_threadpool(turns.recover, self._engine):
            self._enqueue(session_id)

    def enqueue(self, session_id: str) -> None:
        """Run the next turn of this session as soon as there is room; callable from any thread, any number of times."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._enqueue, session_id)

    async def stop(self, session_id: str) -> None:
        """End the runner of a session that was cancelled; returns when its process is gone."""
        if session_id not in self._running:
            return  # a queued turn finds its session cancelled and does not begin
        self._stopped.add(session_id)
        if process := self._processes.get(session_id):
            await stop_process(process)
        if task := self._tasks.get(session_id):
            await asyncio.wait([task])

    async def close(self) -> None:
        """Stop all runners. Their sessions stay `running` in the database, and go on at the next start."""
        tasks, self._loop = list(self._tasks.values()), None
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._launcher.aclose()

    def _enqueue(self, session_id: str) -> None:
        self._wanted.add(session_id)
        if session_id not in self._tasks:
            task = asyncio.create_task(self._work(session_id), name=f"session {session_id}")
            self._tasks[session_id] = task
            task.add_done_callback(partial(self._finish, session_id))

    def _finish(self, session_id: str, task: "asyncio.Task[None]") -> None:
        del self._tasks[session_id]
        if task.cancelled():
            return
        if error := task.exception():
            log.error("The turn of session %s broke.", session_id, exc_info=error)
            turns.fail_turn(self._engine, session_id, f"A defect of ours: {type(error).__name__}.", "See the log.")
        elif session_id in self._wanted:
            self._enqueue(session_id)

    async def _work(self, session_id: str) -> None:
        while session_id in self._wanted:
            self._wanted.discard(session_id)
            async with self._slots:
                turn = await run_in_threadpool(turns.begin_turn, self._engine, session_id)
                if turn is None:
                    continue
                self._running.add(session_id)
                try:
                    again = await self._run(turn)
                finally:
                    self._running.discard(session_id)
                    self._stopped.discard(session_id)
                if again:
                    self._wanted.add(session_id)

    async def _run(self, turn: Turn) -> bool:
        try:
            ending = await self._run_process(turn)
        except (PilotlightError, OSError) as error:
            log.warning("Session %s could not run: %s", turn.session, error)
            ending = Ending(None, "")
            hint = error.hint if isinstance(error, PilotlightError) else ""
            message = error.message if isinstance(error, PilotlightError) else str(error)
            await run_in_threadpool(turns.fail_turn, self._engine, turn.session, message, hint)
        again = await run_in_threadpool(turns.end_turn, self._engine, turn, ending)
        await run_in_threadpool(sweep_session, self._engine, self._settings, turn.session)
        return again

    async def _run_process(self, turn: Turn) -> Ending:
        workspace = Workspace(self._settings, turn.session)
        base = await run_in_threadpool(self._prepare, turn, workspace)
        surface = bind_turn(self._surface_app(), turn)
        async with serve_socket(self._settings, f"{turn.session}-{turn.epoch}", surface) as folder:
            process = await self._launcher(turn, workspace.work, folder)
            self._processes[turn.session] = process
            try:
                if turn.session in self._stopped:  # cancelled while it was being started
                    await stop_process(process)
                ending = await watch_process(process, workspace.log)
            finally:
                del self._processes[turn.session]
        if turn.session not in self._stopped:  # a cancelled session never goes on
            ending = ending._replace(snapshot=await run_in_threadpool(self._save, turn, workspace, base))
        return ending

    def _prepare(self, turn: Turn, workspace: Workspace) -> str | None:
        """Make the workspace ready; the name of the snapshot that the turn's own is built upon."""
        with reading(self._engine) as db:
            newest, base = newest_snapshot(db, turn.session), find_base(db, turn.session)
        workspace.prepare(turn.turn, newest.name if newest else None)
        return base

    def _save(self, turn: Turn, workspace: Workspace, base: str | None) -> str | None:
        """Snapshot the workspace. The turn's work counts also when that fails, so its session only says so."""
        try:
            return workspace.snapshots.save(workspace.work, turn.epoch, base)
        except (PilotlightError, OSError) as error:
            log.warning("No snapshot of session %s: %s", turn.session, error)
            hint = error.hint if isinstance(error, PilotlightError) else "The log of the control process has more."
            message = error.message if isinstance(error, PilotlightError) else os.strerror(error.errno or 0)
            text = (
                f"This turn's files are not in a snapshot, so they could not be restored if they were lost. {message}"
            )
            turns.report_trouble(self._engine, turn.session, text, hint)
            return None

    def _surface_app(self) -> ASGIApp:
        assert self._surface is not None
        return self._surface
