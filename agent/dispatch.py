"""The dispatcher of one worker process: claims turns while it has room, runs them, and looks after its leases.

A small interface on purpose (start, enqueue, stop, close). Any number of processes dispatch from the same database.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import TypeVar, TypeVarTuple

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from starlette.types import ASGIApp

from agent import leases, turns
from agent.claims import Terms, claim_next
from agent.launchers import Launcher
from agent.locks import WorkerLock
from agent.recovery import Recovery
from agent.running import Run
from agent.store import reading, writing
from agent.turns import Ending, Turn
from pilotlight.errors import PilotlightError, Unavailable
from pilotlight.settings import Settings

log = logging.getLogger(__name__)
T = TypeVar("T")
Ts = TypeVarTuple("Ts")
_POLL_SECONDS = 0.5
"""Other processes create and cancel sessions too: the queue, and what this worker still holds, are read this often."""
_OVERDUE = 0.75
"""Part of its lease after which a worker that could not beat stops its runners: before others may begin."""
_PATIENCE_SECONDS = 10.0
"""How long `stop` waits for another worker to end a process."""


class Dispatcher:
    """Runs pending sessions, at most `settings.concurrent_turns` at a time; the others stay in the queue."""

    def __init__(self, engine: Engine, settings: Settings, launcher: Launcher) -> None:
        self._engine, self._settings, self._launcher = engine, settings, launcher
        self._runs: dict[leases.Held, Run] = {}
        """By session and epoch: a turn may begin while the one before it still sweeps up."""
        self._turns: dict[leases.Held, asyncio.Task[None]] = {}
        self._loops: list[asyncio.Task[None]] = []
        self._hint = asyncio.Event()
        self._threads = ThreadPoolExecutor(4, "dispatch")
        """Of its own: a beat must not wait behind the reads of a thousand event streams."""
        self._loop: asyncio.AbstractEventLoop | None = None

    async def start(self, surface: ASGIApp) -> None:
        """Begin to work, with what ended workers of this machine left behind. `surface` is what runners reach."""
        self._loop, self._surface = asyncio.get_running_loop(), surface
        self._launcher.start()
        self._lock = await self._in_thread(WorkerLock, self._settings.home)
        self._terms = Terms(self._lock.holder, self._settings.lease_seconds, self._settings.account_turns)
        self._recovery = Recovery(self._engine, self._settings, self._lock.holder)
        await self._recover()
        await self._in_thread(self._recovery.sweep)
        self._beaten = self._loop.time()
        self._loops = [
            asyncio.create_task(_repeat(self._claim, partial(_wait, self._hint))),
            asyncio.create_task(_repeat(self._watch, partial(asyncio.sleep, _POLL_SECONDS))),
            asyncio.create_task(_repeat(self._recover, partial(asyncio.sleep, _POLL_SECONDS))),
            asyncio.create_task(_repeat(self._beat, partial(asyncio.sleep, self._settings.beat_seconds))),
        ]

    def enqueue(self, session_id: str) -> None:
        """Hint that this session is pending: it is claimed at once where there is room. Callable from any thread."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._hint.set)

    async def stop(self, session_id: str) -> None:
        """End the runner of a session that was cancelled, in whichever worker it is; returns when its process is gone.

        A worker that does not do it in time has lost its right to write and to call anyway.
        """
        tasks = [task for (session, _), task in self._turns.items() if session == session_id]
        for run in [run for (session, _), run in self._runs.items() if session == session_id]:
            await run.stop()
        if tasks:
            await asyncio.wait(tasks)
        deadline = asyncio.get_running_loop().time() + _PATIENCE_SECONDS
        while await self._in_thread(self._is_leased, session_id) and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.1)

    async def close(self) -> None:
        """Stop all runners and give their sessions back: other workers, or this one's successor, go on with them."""
        self._loop, runs = None, list(self._runs.values())
        await _end(self._loops)
        await _end(list(self._turns.values()))
        for run in runs:
            await run.give_back()
        await self._launcher.aclose()
        await asyncio.to_thread(self._threads.shutdown)
        self._lock.close()

    async def _claim(self) -> None:
        self._hint.clear()
        while len(self._runs) < self._settings.concurrent_turns:
            turn = await self._in_thread(claim_next, self._engine, self._terms)
            if turn is None:
                return
            self._begin(turn)

    def _begin(self, turn: Turn) -> None:
        run = Run(self._engine, self._settings, self._launcher, self._surface, turn)
        task = asyncio.create_task(run.work(), name=f"session {turn.session}")
        name = (turn.session, turn.epoch)
        self._runs[name], self._turns[name] = run, task
        task.add_done_callback(partial(self._finish, turn))

    def _finish(self, turn: Turn, task: "asyncio.Task[None]") -> None:
        name = (turn.session, turn.epoch)
        del self._runs[name], self._turns[name]
        self._hint.set()
        error = None if task.cancelled() else task.exception()
        if error is None:
            return
        log.error("The turn of session %s broke.", turn.session, exc_info=error)
        if not isinstance(
            error, (SQLAlchemyError, Unavailable)
        ):  # else it goes on when its lease, which nobody beats, has expired
            turns.fail_turn(self._engine, turn, f"A defect of ours: {type(error).__name__}.", "See the log.")
            turns.end_turn(self._engine, turn, Ending(None, ""))

    async def _watch(self) -> None:
        """Stop what this worker no longer has to run: its session was cancelled, or somebody else took it over."""
        before = dict(self._runs)
        if before and asyncio.get_running_loop().time() - self._beaten > _OVERDUE * self._settings.lease_seconds:
            return await self._stop_others(before, set())
        if before:
            await self._stop_others(before, await self._in_thread(self._find_held))

    async def _beat(self) -> None:
        before, moment = dict(self._runs), asyncio.get_running_loop().time()
        if before:
            sessions = list({session for session, _ in before})
            await self._stop_others(before, await self._in_thread(self._write_beat, sessions))
        self._beaten = moment

    async def _stop_others(self, before: dict[leases.Held, Run], held: set[leases.Held]) -> None:
        lost = [run for name, run in before.items() if not run.over and name not in held]
        for run in lost:
            log.warning("Session %s is no longer this worker's: its runner is stopped.", run.turn.session)
        await asyncio.gather(*(run.stop() for run in lost))

    async def _recover(self) -> None:
        if await self._in_thread(self._recovery.step):
            self._hint.set()

    async def _in_thread(self, function: Callable[[*Ts], T], *arguments: *Ts) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)

    def _find_held(self) -> set[leases.Held]:
        with reading(self._engine) as db:
            return leases.find_held(db, self._lock.holder.worker)

    def _write_beat(self, sessions: list[str]) -> set[leases.Held]:
        with writing(self._engine) as db:
            return leases.beat(db, self._lock.holder.worker, sessions, self._settings.lease_seconds)

    def _is_leased(self, session_id: str) -> bool:
        with reading(self._engine) as db:
            return leases.is_leased(db, session_id)


async def _end(tasks: list["asyncio.Task[None]"]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _repeat(step: Callable[[], Awaitable[None]], pause: Callable[[], Awaitable[object]]) -> None:
    while True:
        try:
            await step()
        except (PilotlightError, SQLAlchemyError, OSError) as error:
            log.warning("The dispatcher tries again: %s", error)
        except Exception:  # a server that answers and runs nothing would be worse than one that tries again
            log.exception("A part of the dispatcher failed by a defect of ours, and tries again.")
        await pause()


async def _wait(hint: asyncio.Event) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(hint.wait(), _POLL_SECONDS)
