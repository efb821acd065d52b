"""Who runs which session: a row exists while a worker may have a process for it. Times are the database's clock.

A worker keeps its rows alive with one beat for all. The row is taken with the claim of the session and dropped with the
end of its turn; a row that nobody keeps alive is found by `agent.recovery`.
"""

from collections.abc import Collection
from typing import NamedTuple

from sqlalchemy import delete, update
from sqlmodel import Session, col, select

from agent.states import Status
from agent.tables import LeaseRow, SessionRow
from pilotlight.database_clock import ClockSeconds


class Holder(NamedTuple):
    """A worker process, and the machine (the home folder) whose files it sees."""

    worker: str
    machine: str


class Lease(NamedTuple):
    """One row, with what the database's clock says of it."""

    session: str
    epoch: int
    worker: str
    machine: str
    beats: int
    expired: bool


Held = tuple[str, int]
"""A session and the epoch it is run under."""


def take(db: Session, session_id: str, epoch: int, holder: Holder, seconds: float) -> None:
    """Write the lease of a session whose claim is being committed. Raises IntegrityError when there is one."""
    expires = ClockSeconds() + seconds
    values = {"session_id": session_id, "epoch": epoch, "worker": holder.worker, "machine": holder.machine}
    db.connection().execute(LeaseRow.__table__.insert().values(**values, beats=0, expires=expires))  # pyright: ignore[reportAttributeAccessIssue]


def beat(db: Session, worker: str, sessions: Collection[str], seconds: float) -> set[Held]:
    """Keep the leases of these sessions alive; returns those that this worker still holds."""
    statement = (
        update(LeaseRow)
        .where(col(LeaseRow.worker) == worker, col(LeaseRow.session_id).in_(sessions))
        .values(expires=ClockSeconds() + seconds, beats=LeaseRow.beats + 1)
        .returning(col(LeaseRow.session_id), col(LeaseRow.epoch))
        .execution_options(synchronize_session=False)
    )
    return {(session, epoch) for session, epoch in db.connection().execute(statement)}


def find_held(db: Session, worker: str) -> set[Held]:
    """What this worker is to run: its leases whose session still runs under their epoch."""
    query = (
        select(LeaseRow.session_id, LeaseRow.epoch)
        .join(SessionRow, col(SessionRow.id) == LeaseRow.session_id)
        .where(LeaseRow.worker == worker, SessionRow.epoch == LeaseRow.epoch)
        .where(SessionRow.status == Status.RUNNING.value)
    )
    return {(session, epoch) for session, epoch in db.exec(query)}


def is_leased(db: Session, session_id: str) -> bool:
    """Whether a worker may still have a process for the session."""
    return db.exec(select(LeaseRow.epoch).where(LeaseRow.session_id == session_id)).one_or_none() is not None


def list_leases(db: Session) -> list[Lease]:
    """All leases."""
    expired = col(LeaseRow.expires) < ClockSeconds()
    return [
        Lease(row.session_id, row.epoch, row.worker, row.machine, row.beats, bool(gone))
        for row, gone in db.exec(select(LeaseRow, expired))
    ]


def list_unleased(db: Session) -> list[Held]:
    """Running sessions that nobody has a lease on: what a release without leases left behind."""
    leased = select(LeaseRow.session_id)
    query = select(SessionRow.id, SessionRow.epoch).where(SessionRow.status == Status.RUNNING.value)
    return [(session, epoch) for session, epoch in db.exec(query.where(col(SessionRow.id).not_in(leased)))]


def drop(db: Session, session_id: str, epoch: int, beats: int | None = None) -> bool:
    """Remove a lease; with `beats`, only when there was no beat since. False when there is none (any more)."""
    statement = delete(LeaseRow).where(col(LeaseRow.session_id) == session_id, col(LeaseRow.epoch) == epoch)
    if beats is not None:
        statement = statement.where(col(LeaseRow.beats) == beats)
    return db.connection().execute(statement).rowcount == 1
