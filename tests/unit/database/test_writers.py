"""Sixteen processes write at once: numbers stay gapless, and the audit stays one chain."""

import multiprocessing
import os
from pathlib import Path

from sqlmodel import Session, col, select

from agent import journal
from agent.tables import EventRow
from gateway import audit
from pilotlight.database import open_engine
from tests.fixtures.databases import Databases, create_all_tables
from tests.fixtures.desk import open_desk

PROCESSES, EACH = 16, 8


def write(url: str, session: str, number: int) -> None:
    """Runs in a process of its own."""
    engine = open_engine(url)
    for index in range(EACH):
        with Session(engine) as db, db.begin():
            journal.append(db, session, "status_info", {"text": str(index)}, key=f"{number}/{index}")
            audit.append(
                db.connection(), principal=f"p{number}", method="", resource=session, verdict="set", rule="r", detail={}
            )
    os._exit(0)


def test_sixteen_processes_write_one_log_and_one_chain(tmp_path: Path, databases: Databases) -> None:
    url, engine = databases.url(tmp_path / "control.db"), databases.open(tmp_path / "control.db")
    create_all_tables(engine)
    session = open_desk(engine, tmp_path).create()
    before = audit.verify(engine).rows
    engine.dispose()
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=write, args=(url, session, number)) for number in range(PROCESSES)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert [worker.exitcode for worker in workers] == [0] * PROCESSES
    with Session(engine) as db:
        query = select(EventRow.seq, EventRow.key).where(EventRow.session_id == session)
        rows = db.exec(query.order_by(col(EventRow.seq))).all()
    assert [seq for seq, _ in rows] == list(range(1, len(rows) + 1))
    assert len({key for _, key in rows if key}) == PROCESSES * EACH
    report = audit.verify(engine)
    assert (report.intact, report.rows) == (True, before + PROCESSES * EACH)
