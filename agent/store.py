"""Transactions on the control database."""

from collections.abc import Generator
from contextlib import contextmanager

from sqlalchemy import Engine
from sqlmodel import Session, SQLModel, col, select

from agent.tables import (
    AnswerRow,
    ChannelRow,
    DeletedRow,
    EstimateRow,
    EventRow,
    InstructionRow,
    LeaseRow,
    NoticeRow,
    PlanRow,
    QuestionRow,
    RequestRow,
    SessionRow,
    SnapshotRow,
    TurnRow,
)
from pilotlight.errors import NotFound
from pilotlight.tables import make_tables

_TABLES: tuple[type[SQLModel], ...] = (
    SessionRow,
    EventRow,
    InstructionRow,
    QuestionRow,
    AnswerRow,
    PlanRow,
    RequestRow,
    TurnRow,
    SnapshotRow,
    DeletedRow,
    ChannelRow,
    NoticeRow,
    EstimateRow,
    LeaseRow,
)


def create_tables(engine: Engine) -> None:
    """Create what is missing of the agent's tables."""
    make_tables(engine, _TABLES)


@contextmanager
def writing(engine: Engine) -> Generator[Session]:
    """One write transaction: committed at the end, rolled back on any exception."""
    with Session(engine, expire_on_commit=False) as db, db.begin():
        yield db


@contextmanager
def reading(engine: Engine) -> Generator[Session]:
    """One consistent snapshot that never waits for a writer."""
    with Session(engine.execution_options(readonly=True), expire_on_commit=False) as db, db.begin():
        yield db


def get_session(db: Session, account: str, session_id: str) -> SessionRow:
    """The fresh row of a session of this account. Raises NotFound, also for another account's session."""
    query = select(SessionRow).where(col(SessionRow.id) == session_id, col(SessionRow.account) == account)
    row = db.exec(query.execution_options(populate_existing=True)).one_or_none()
    if row is None:
        raise NotFound(
            f"Session {session_id[:64]!r} was not found in account {account!r}.",
            hint="List them: `firectl session list`.",
        )
    return row


def load_session(db: Session, session_id: str) -> SessionRow:
    """The fresh row of a session that must exist: for the control process's own work."""
    query = select(SessionRow).where(col(SessionRow.id) == session_id)
    return db.exec(query.execution_options(populate_existing=True)).one()
