"""Removes what no snapshot needs any more from the workspace store: after a turn, after a deletion, and once a day."""

import asyncio
import logging
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import select
from starlette.concurrency import run_in_threadpool

from agent.history import forget_old
from agent.notices.outbox import forget_settled
from agent.store import reading, writing
from agent.tables import DeletedRow, SnapshotRow
from agent.workspace import Workspace
from pilotlight.errors import PilotlightError
from pilotlight.locks import try_lock
from pilotlight.settings import Settings

log = logging.getLogger(__name__)
_DAY_SECONDS = 86_400.0


def lock_of(settings: Settings) -> Path:
    """Held shared while something is removed, and alone while a backup copies the store."""
    return settings.home / "sweeping.lock"


async def sweep_daily(engine: Engine, settings: Settings) -> None:
    """Sweep everything at start and once a day, until cancelled."""
    while True:
        try:
            await run_in_threadpool(sweep_all, engine, settings)
        except (PilotlightError, SQLAlchemyError) as error:
            log.warning("The daily sweep waits for tomorrow: %s", error)
        await asyncio.sleep(_DAY_SECONDS)


def sweep_all(engine: Engine, settings: Settings) -> None:
    """Sweep every session that has snapshots, and remove those of deleted sessions. Failures are logged."""
    with reading(engine) as db:
        deleted = db.exec(select(DeletedRow.session_id)).all()
        sessions = db.exec(select(SnapshotRow.session_id).distinct()).all()
    forget_settled(engine)
    for session_id in deleted:
        discard_deleted(engine, settings, session_id)
    for session_id in sessions:
        sweep_session(engine, settings, session_id)


def sweep_session(engine: Engine, settings: Settings, session_id: str) -> None:
    """Keep the newest snapshots of a session. A failure is logged: the next sweep finds the same."""
    try:
        with try_lock(lock_of(settings), shared=True) as free:
            if not free:
                return
            with writing(engine) as db:
                kept = forget_old(db, session_id, settings.snapshots_kept)
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
