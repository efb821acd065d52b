"""Every pair of status and move, against a real database."""

from itertools import product

import pytest
from sqlalchemy import Engine
from sqlmodel import Session

from agent import journal
from agent.states import TRANSITIONS, Move, Status, allows, target
from agent.store import load_session, reading, writing
from agent.tables import EventRow, SessionRow
from pilotlight.errors import FailedPrecondition

MAY_FOLLOW = {
    Status.PENDING: {Status.RUNNING, Status.FAILED, Status.CANCELLED},
    Status.RUNNING: {Status.PENDING, Status.WAITING, Status.SUCCEEDED, Status.FAILED, Status.CANCELLED},
    Status.WAITING: {Status.PENDING, Status.CANCELLED},
    Status.SUCCEEDED: {Status.PENDING},
    Status.FAILED: {Status.PENDING},
    Status.CANCELLED: set[Status](),
}
"""DESIGN section 3, written down a second time."""


def test_the_table_leads_where_the_design_says() -> None:
    found: dict[Status, set[Status]] = {status: set() for status in Status}
    for sources, goal in TRANSITIONS.values():
        for source in sources:
            found[source].add(goal)
    assert found == MAY_FOLLOW
    assert set(TRANSITIONS) == set(Move)


@pytest.mark.parametrize(("status", "step"), list(product(Status, Move)))
def test_a_move_leaves_only_the_statuses_of_the_table(engine: Engine, status: Status, step: Move) -> None:
    with writing(engine) as db:
        add_session(db, status)
    if allows(step, status):
        with writing(engine) as db:
            assert journal.move(db, "s", step) == 1
        with reading(engine) as db:
            assert load_session(db, "s").status == target(step)
            event = db.get_one(EventRow, ("s", 1))
            assert event.type == "status"
        return
    with pytest.raises(FailedPrecondition, match=status.value), writing(engine) as db:
        journal.move(db, "s", step)
    with reading(engine) as db:
        row = load_session(db, "s")
        assert (row.status, row.last_seq, row.version) == (status.value, 0, 1)
        assert db.get(EventRow, ("s", 1)) is None


def add_session(db: Session, status: Status, session_id: str = "s") -> None:
    time = "2026-01-01T00:00:00.000000Z"
    db.add(
        SessionRow(
            id=session_id,
            slot=1,
            account="acct",
            created_by="a@acct",
            created_user="a",
            instruction="x",
            scope="optimize",
            status=status.value,
            create_time=time,
            update_time=time,
        )
    )
