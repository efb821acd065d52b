"""Which snapshots of a session's workspace there are: the database's word, part of the transaction that ends a turn."""

from typing import NamedTuple

from sqlalchemy import delete
from sqlmodel import Session, col, select

from agent.tables import DeletedRow, SessionRow, SnapshotRow
from pilotlight.clock import now, to_rfc3339


class Kept(NamedTuple):
    """What the database knows of a session's snapshots at one moment."""

    epoch: int
    names: set[str]


def record_snapshot(db: Session, session_id: str, epoch: int, name: str | None) -> None:
    """Note the snapshot of the turn that ends in this transaction; None when none could be taken."""
    db.merge(SnapshotRow(session_id=session_id, epoch=epoch, name=name or "", time=to_rfc3339(now())))
    db.flush()


def newest_snapshot(db: Session, session_id: str) -> SnapshotRow | None:
    """That of the last turn that ended, with an empty name when none could be taken; None before the first end."""
    query = select(SnapshotRow).where(SnapshotRow.session_id == session_id).order_by(col(SnapshotRow.epoch).desc())
    return db.exec(query.limit(1)).one_or_none()


def find_base(db: Session, session_id: str) -> str | None:
    """The newest snapshot that was taken: what the next one is built upon."""
    query = select(SnapshotRow.name).where(SnapshotRow.session_id == session_id, SnapshotRow.name != "")
    return db.exec(query.order_by(col(SnapshotRow.epoch).desc()).limit(1)).one_or_none()


def divide_snapshots(db: Session, session_id: str, count: int) -> tuple[Kept, list[SnapshotRow]] | None:
    """The newest `count` snapshots, and the rows of the older ones; None when the session is gone."""
    # The epoch first: where both reads are not of one moment, nothing newer than it is taken for rubbish.
    epoch = db.exec(select(SessionRow.epoch).where(SessionRow.id == session_id)).one_or_none()
    if epoch is None:
        return None
    query = select(SnapshotRow).where(SnapshotRow.session_id == session_id, SnapshotRow.name != "")
    names: set[str] = set()
    old: list[SnapshotRow] = []
    for row in db.exec(query.order_by(col(SnapshotRow.epoch).desc())).all():
        if len(names) < count or row.name in names:
            names.add(row.name)
        else:
            old.append(row)
    return Kept(epoch, names), old


def forget_old(db: Session, session_id: str, count: int) -> Kept | None:
    """Forget all but the newest `count` snapshots; returns what is left, None when the session is gone.

    Nothing of the store is removed: that comes after the commit.
    """
    if (found := divide_snapshots(db, session_id, count)) is None:
        return None
    kept, old = found
    for row in old:
        db.delete(row)
    return kept


def forget_session(db: Session, session_id: str) -> None:
    """In the transaction that deletes a session: its snapshots are to be removed from the store."""
    db.connection().execute(delete(SnapshotRow).where(col(SnapshotRow.session_id) == session_id))
    db.add(DeletedRow(session_id=session_id))
