"""Claims: fair order, limits, the place in the queue, and that no two workers ever get one session."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlmodel import col, select

from agent import leases, queue
from agent.claims import Terms, claim_next
from agent.leases import Holder
from agent.store import reading, writing
from agent.tables import SessionRow, TurnRow
from agent.turns import Ending, Turn, end_turn
from pilotlight.identity import bootstrap
from tests.fixtures.desk import HOLDER, Desk, open_desk


def add(engine: Engine, *names: str) -> None:
    """Pending sessions in this order; the account is the letter before the number."""
    with writing(engine) as db:
        for place, name in enumerate(names):
            time = f"2026-01-01T00:00:{place:02d}.000000Z"
            words: dict[str, Any] = dict.fromkeys(("created_by", "instruction"), "x")
            words |= dict.fromkeys(("create_time", "update_time", "pending_time"), time)
            number = 1000 * ord(name[0]) + int(name[1:])
            row = SessionRow(
                id=name, slot=number, account=name[0], created_user="admin", status="pending", turn=1, **words
            )  # fmt: skip
            db.add(row)


@pytest.fixture
def accounts(engine: Engine) -> Engine:
    for account in "abc":
        bootstrap(engine, account)
    return engine


def terms(holder: Holder = HOLDER, account_turns: int = 0) -> Terms:
    return Terms(holder, 20.0, account_turns)


def drain(engine: Engine, account_turns: int = 0) -> list[str]:
    claimed = list[str]()
    while turn := claim_next(engine, terms(account_turns=account_turns)):
        claimed.append(turn.session)
    return claimed


def test_the_account_with_the_fewest_running_sessions_is_next_then_who_waits_longest(accounts: Engine) -> None:
    add(accounts, "a1", "a2", "a3", "b1", "c1", "b2")
    with reading(accounts) as db:
        foreseen = queue.read_positions(db)
    order = drain(accounts)
    assert order == ["a1", "b1", "c1", "a2", "b2", "a3"]
    assert foreseen == {name: place for place, name in enumerate(order, 1)}, "the place shown is the order kept"


def test_running_sessions_count(accounts: Engine) -> None:
    add(accounts, "a1", "a2", "b1", "a3", "b2")
    for expected in ("a1", "b1", "a2"):
        turn = claim_next(accounts, terms())
        assert turn is not None
        assert turn.session == expected
    assert drain(accounts) == ["b2", "a3"]


def test_an_account_has_no_more_sessions_at_work_than_its_limit(accounts: Engine) -> None:
    add(accounts, "a1", "a2", "a3", "b1")
    assert drain(accounts, account_turns=1) == ["a1", "b1"]
    with reading(accounts) as db:
        assert queue.read_positions(db) == {"a2": 1, "a3": 2}
    turn = Turn("a", "a1", 1, 1, 0, "", "", None)
    end_turn(accounts, turn, Ending(1, "over"))
    assert drain(accounts, account_turns=1) == ["a2"]


def test_workers_that_claim_at_once_never_get_the_same_session_nor_exceed_a_limit(accounts: Engine) -> None:
    names = [f"{account}{number}" for number in range(12) for account in "abc"]
    add(accounts, *names)

    def work(number: int) -> list[str]:
        mine, holder = list[str](), Holder(f"w{number}", "m")
        while turn := claim_next(accounts, terms(holder, account_turns=9)):
            mine.append(turn.session)
        return mine

    with ThreadPoolExecutor(6) as pool:
        claimed = [name for mine in pool.map(work, range(6)) for name in mine]
    assert len(claimed) == len(set(claimed)) == 27
    assert Counter(name[0] for name in claimed) == {"a": 9, "b": 9, "c": 9}
    with reading(accounts) as db:
        assert len(db.exec(select(TurnRow.session_id)).all()) == 27
        assert set(db.exec(select(col(SessionRow.epoch))).all()) == {0, 1}


def test_a_session_whose_last_process_may_still_exist_is_not_claimed(accounts: Engine) -> None:
    add(accounts, "a1", "a2")
    with writing(accounts) as db:
        leases.take(db, "a1", 1, HOLDER, 20.0)
    assert drain(accounts) == ["a2"]


@pytest.fixture
def own_desk(engine: Engine, tmp_path: Path) -> Desk:
    return open_desk(engine, tmp_path)


def test_a_pending_session_tells_its_place(own_desk: Desk) -> None:
    first, second = own_desk.create(), own_desk.create()
    assert own_desk.get(second)["queuePosition"] == 2
    assert "position 2" in own_desk.get(second)["statusInfo"]
    assert [item["queuePosition"] for item in own_desk.all()] == [2, 1]
    own_desk.turn(first)
    assert own_desk.get(first)["queuePosition"] is None
    assert own_desk.get(second)["queuePosition"] == 1
