"""Removes what no snapshot needs any more from the workspace store: after a turn, after a deletion, and once a day."""

import asyncio
import logging
import time
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import select
from starlette.concurrency import run_in_threadpool

from agent.history import Kept, divide_snapshots, forget_old
from agent.notices.outbox import forget_settled
from agent.store import reading, writing
from agent.tables import DeletedRow, SnapshotRow
from agent.workspace import Workspace
from pilotlight.environments import sweep_environments
from pilotlight.errors import PilotlightError
from pilotlight.locks import try_lock
from pilotlight.settings import Settings

log = logging.getLogger(__name__)
_DAY_SECONDS = 86_400.0
_REST = 9.0
"""The daily sweep rests so many times as long as it worked: with ten thousand sessions it would else fill a core."""


def lock_of(settings: Settings) -> Path:
    """Held shared while something is removed, and alone while a backup copies the store."""
    return settings.home / "sweeping.lock"


async def sweep_daily(engine: Engine, settings: Settings) -> None:
    """Sweep everything at start and once a day, until cancelled."""
    while True:
        try:
            await sweep_all(engine, settings)
        except (PilotlightError, SQLAlchemyError) as error:
            log.warning("The daily sweep waits for tomorrow: %s", error)
        except Exception:
            log.exception("The daily sweep failed by a defect of ours; the next one is tomorrow.")
        await asyncio.sleep(_DAY_SECONDS)


async def sweep_all(engine: Engine, settings: Settings) -> None:
    """Sweep every session that has snapshots, and remove those of deleted sessions. Failures are logged.

    So it does with installed packages of evaluators that nobody used for a month.
    """
    deleted, sessions = await run_in_threadpool(_list_sessions, engine)
    await run_in_threadpool(forget_settled, engine)
    await run_in_threadpool(_sweep_environments, settings.environments)
    for session_id in deleted:
        await run_in_threadpool(discard_deleted, engine, settings, session_id)
    for session_id in sessions:
        begun = time.monotonic()
        await run_in_threadpool(sweep_session, engine, settings, session_id)
        await asyncio.sleep(_REST * (time.monotonic() - begun))


def sweep_session(engine: Engine, settings: Settings, session_id: str) -> None:
    """Keep the newest snapshots of a session. A failure is logged: the next sweep finds the same."""
    try:
        with try_lock(lock_of(settings), shared=True) as free:
            if not free:
                return
            kept = _forget_old(engine, session_id, settings.snapshots_kept)
            if kept is not None:
                Workspace(settings, session_id).snapshots.sweep(kept.names, kept.epoch)
    except (PilotlightError, OSError, SQLAlchemyError) as error:
        log.warning("The snapshots of %s are not swept: %s", session_id, error)


def discard_deleted(engine: Engine, settings: Settings, session_id: str) -> None:
    """Remove all snapshots of a deleted session. A failure is logged, and tried again by the daily sweep."""
    try:
        with try_lock(lock_of(settings), shared=True) as free:
            if not free:
                return
            Workspace(settings, session_id).snapshots.discard_all()
            with writing(engine) as db:
                if (row := db.get(DeletedRow, session_id)) is not None:
                    db.delete(row)
    except (PilotlightError, OSError, SQLAlchemyError) as error:
        log.warning("The snapshots of the deleted session %s remain for now: %s", session_id, error)


def _sweep_environments(home: Path) -> None:
    try:
        if names := sweep_environments(home):
            log.info("Packages of evaluators that nobody used for a month are removed: %s.", ", ".join(names))
    except OSError as error:
        log.warning("The packages of evaluators are not swept: %s", error)


def _list_sessions(engine: Engine) -> tuple[list[str], list[str]]:
    """Those that were deleted, and those that have snapshots."""
    with reading(engine) as db:
        deleted = db.exec(select(DeletedRow.session_id)).all()
        return list(deleted), list(db.exec(select(SnapshotRow.session_id).distinct()).all())


def _forget_old(engine: Engine, session_id: str, count: int) -> Kept | None:
    """What is left; written only where there is something to forget, so that a sweep of all holds up no writer."""
    with reading(engine) as db:
        found = divide_snapshots(db, session_id, count)
    if found is None or not found[1]:
        return found and found[0]
    with writing(engine) as db:
        return forget_old(db, session_id, count)
