import threading

import pytest
from sqlalchemy import Engine
from sqlmodel import Session, col, select

from agent import journal
from agent.states import Move, Status
from agent.store import load_session, reading, writing
from agent.tables import EventRow, SessionRow
from pilotlight.errors import Aborted, InvalidArgument, NotFound

TIME = "2026-01-01T00:00:00.000000Z"


def add_session(engine: Engine, session_id: str = "s", slot: int = 1, **columns: object) -> None:
    values = {"update_time": TIME, "status": Status.RUNNING.value, "epoch": 3} | columns
    with writing(engine) as db:
        db.add(
            SessionRow(
                id=session_id,
                slot=slot,
                account="acct",
                created_by="a@acct",
                created_user="a",
                instruction="x",
                scope="optimize",
                create_time=TIME,
                **values,  # pyright: ignore[reportArgumentType]
            )
        )


def seqs(db: Session, session_id: str = "s") -> list[int]:
    query = select(EventRow.seq).where(EventRow.session_id == session_id).order_by(col(EventRow.seq))
    return list(db.exec(query).all())


def test_racing_writers_leave_no_gap_and_no_double(engine: Engine) -> None:
    for number in range(2):
        add_session(engine, f"s{number}", number)

    def write(name: str) -> None:
        for index in range(25):
            with writing(engine) as db:
                journal.append(db, f"s{index % 2}", "job", {"from": name, "index": index})

    threads = [threading.Thread(target=write, args=(f"t{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with reading(engine) as db:
        assert seqs(db, "s0") == list(range(1, 53))
        assert seqs(db, "s1") == list(range(1, 49))
        assert load_session(db, "s0").last_seq == 52


def test_a_key_is_written_once(engine: Engine) -> None:
    add_session(engine)
    for _ in range(3):
        with writing(engine) as db:
            assert journal.append(db, "s", "status_info", {"text": "x"}, key="k") == 1
    with reading(engine) as db:
        assert seqs(db) == [1]


def test_a_stale_epoch_writes_nothing(engine: Engine) -> None:
    add_session(engine)
    with writing(engine) as db:
        journal.append(db, "s", "job", {}, key="k", epoch=3)
    for epoch in (2, 4):
        with pytest.raises(Aborted, match="lease"), writing(engine) as db:
            journal.append(db, "s", "job", {}, epoch=epoch)
        with pytest.raises(Aborted, match="lease"), writing(engine) as db:
            journal.append(db, "s", "job", {}, key="k", epoch=epoch)
        with pytest.raises(Aborted, match="lease"), writing(engine) as db:
            journal.move(db, "s", Move.SUCCEED, epoch=epoch)
        with pytest.raises(Aborted, match="lease"), writing(engine) as db:
            journal.set_fields(db, "s", {"plan_hash": "x"}, epoch=epoch)
    with reading(engine) as db:
        assert seqs(db) == [1]
        assert load_session(db, "s").status == Status.RUNNING.value


def test_a_failed_transaction_leaves_neither_event_nor_status(engine: Engine) -> None:
    add_session(engine)

    def write_and_fail() -> None:
        with writing(engine) as db:
            journal.append(db, "s", "job", {})
            journal.move(db, "s", Move.SUCCEED)
            journal.append(db, "s", "gossip", {})

    with pytest.raises(InvalidArgument):
        write_and_fail()
    with reading(engine) as db:
        assert seqs(db) == []
        assert load_session(db, "s").status == Status.RUNNING.value


def test_payloads_are_bounded_and_typed(engine: Engine) -> None:
    add_session(engine)
    with writing(engine) as db:
        journal.append(db, "s", "job", {"x": "y" * (journal.PAYLOAD_LIMIT - 9)})
    with pytest.raises(InvalidArgument, match="bytes"), writing(engine) as db:
        journal.append(db, "s", "job", {"x": "y" * (journal.PAYLOAD_LIMIT - 8)})
    with pytest.raises(InvalidArgument, match="Unknown event type"), writing(engine) as db:
        journal.append(db, "s", "gossip", {})
    with pytest.raises(ValueError, match="JSON"), writing(engine) as db:
        journal.append(db, "s", "job", {"loss": float("nan")})
    with pytest.raises(NotFound), writing(engine) as db:
        journal.append(db, "nobody", "job", {})


def test_a_clock_that_steps_back_does_not_reorder_events(engine: Engine) -> None:
    add_session(engine, update_time="2999-01-01T00:00:00.000000Z")
    with writing(engine) as db:
        journal.append(db, "s", "job", {})
        journal.append(db, "s", "job", {})
        times = db.exec(select(EventRow.time)).all()
    assert list(times) == ["2999-01-01T00:00:00.000000Z"] * 2
