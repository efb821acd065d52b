"""A database of an earlier release gets the columns that came since."""

from sqlalchemy import Engine, text

from agent.claims import Terms, claim_next
from agent.store import create_tables
from pilotlight.identity import bootstrap
from tests.fixtures.desk import HOLDER, Desk, person


def test_columns_that_came_later_are_added_and_what_was_pending_runs(engine: Engine, desk: Desk) -> None:
    bootstrap(engine, "acme")
    desk = Desk(engine, desk.settings)
    session = desk.create(person("admin"))
    with engine.begin() as db:
        for table, column in (("sessions", "pending_time"), ("turns", "machine"), ("turns", "killed")):
            db.execute(text(f"ALTER TABLE {table} DROP COLUMN {column}"))
        db.execute(text("DROP TABLE leases"))
    create_tables(engine)
    create_tables(engine)
    turn = claim_next(engine, Terms(HOLDER, 20.0, 0))
    assert turn is not None
    assert turn.session == session
