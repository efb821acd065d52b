"""The outbox and its deliverer: written with the status, delivered at least once, given up after a bound and said."""

import asyncio
import json
import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, update
from sqlmodel import col, select

from agent import journal, sessions
from agent.notices.channel import open_channels
from agent.notices.deliverer import DELAYS, Deliverer
from agent.notices.outbox import claim_notices, forget_settled, set_channels, settle_notice
from agent.notices.webhook import WebhookChannel
from agent.states import Move
from agent.store import reading, writing
from agent.tables import EventRow, NoticeRow
from pilotlight.errors import InvalidArgument
from pilotlight.settings import Settings
from tests.fixtures.databases import Databases, create_all_tables
from tests.fixtures.desk import Desk, open_desk, person
from tests.fixtures.receiver import OTHER_SECRET, SECRET, Receiver


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def desk(tmp_path: Path, databases: Databases) -> Desk:
    engine = databases.open(tmp_path / "control.db")
    create_all_tables(engine)
    set_channels(engine, ["webhook"])
    return open_desk(engine, tmp_path)


def notices(engine: Engine) -> list[NoticeRow]:
    with reading(engine) as db:
        return list(db.exec(select(NoticeRow).order_by(col(NoticeRow.time))).all())


def age(engine: Engine, column: str) -> None:
    with writing(engine) as db:
        db.connection().execute(update(NoticeRow).values({column: "2020-01-01T00:00:00.000000Z"}))


def deliver(desk: Desk, receiver: Receiver, steps: int = 1, delays: tuple[float, ...] = DELAYS) -> list[int]:
    """What each step found due."""

    async def work() -> list[int]:
        channel = WebhookChannel(receiver.url, SECRET)
        deliverer = Deliverer(desk.engine, {"webhook": channel}, "http://pilot", delays)
        try:
            return [await deliverer.step() for _ in range(steps)]
        finally:
            await channel.aclose()

    return asyncio.run(work())


def test_waiting_session_is_told_with_its_question_plan_and_cost(desk: Desk, receiver: Receiver) -> None:
    session = desk.waiting()
    assert deliver(desk, receiver, 2) == [1, 0]
    (delivery,) = receiver.deliveries
    body = delivery.verify()
    assert (body["type"], delivery.path) == ("session.waiting", "/hook/s3cret-path")
    data, view = body["data"], desk.get(session)
    assert data["session"] == f"accounts/acme/sessions/{session}"
    assert data["question"]["text"] == view["question"]["text"]
    assert data["question"]["kind"] == "plan_approval"
    assert data["planHash"] == view["question"]["planHash"]
    assert data["cost"] == dict.fromkeys(("soFar", "reserved", "approved"), "0.000000")
    assert data["seq"] == int(view["lastSeq"])
    assert data["links"]["session"] == f"http://pilot/v1/accounts/acme/sessions/{session}"
    assert [(row.state, row.attempts) for row in notices(desk.engine)] == [("delivered", 1)]


def test_each_rest_is_told_once_and_what_goes_on_is_not(desk: Desk, receiver: Receiver) -> None:
    session = desk.waiting()
    desk.update(session, answer={"questionId": "q1", "decision": "reject"})
    assert deliver(desk, receiver, 2) == [2, 0]
    types = sorted((item.verify()["type"], item.verify()["data"]["reason"]) for item in receiver.deliveries)
    assert types == [("session.cancelled", "rejected by the user"), ("session.waiting", "")]
    assert len({delivery.id for delivery in receiver.deliveries}) == 2


def test_notice_is_written_with_the_status_or_not_at_all(desk: Desk) -> None:
    session = desk.create()
    desk.turn(session)
    with pytest.raises(InvalidArgument):
        finish_with(desk, session, "no such type")
    assert notices(desk.engine) == []
    finish_with(desk, session, "report")
    assert [row.status for row in notices(desk.engine)] == ["succeeded"]


def finish_with(desk: Desk, session: str, kind: str) -> None:
    with writing(desk.engine) as db:
        journal.move(db, session, Move.SUCCEED)
        journal.append(db, session, kind, {})  # whatever fails before the commit


def test_without_a_channel_nothing_is_written_and_a_removed_channel_is_forgotten(desk: Desk) -> None:
    desk.waiting()
    assert len(notices(desk.engine)) == 1
    set_channels(desk.engine, ["command"])
    assert notices(desk.engine) == []
    desk.waiting()
    assert [row.channel for row in notices(desk.engine)] == ["command"]
    set_channels(desk.engine, [])
    desk.waiting()
    assert notices(desk.engine) == []


def test_failed_attempt_is_repeated_with_the_same_id_and_body_and_a_new_time(desk: Desk, receiver: Receiver) -> None:
    desk.waiting()
    receiver.answers += [(500, {}), (302, {"location": "http://127.0.0.1:1/elsewhere"}), (404, {})]
    assert deliver(desk, receiver, 5, (0.0,) * 5) == [1, 1, 1, 1, 0]
    assert len(receiver.deliveries) == 4, "a redirect is not followed"
    assert len({(delivery.id, delivery.body) for delivery in receiver.deliveries}) == 1
    for delivery in receiver.deliveries:
        delivery.verify()
    assert [(row.state, row.attempts, row.error) for row in notices(desk.engine)] == [("delivered", 4, "")]


def test_attempts_back_off_over_hours() -> None:
    assert len(DELAYS) == 10
    assert list(DELAYS) == sorted(DELAYS)
    assert 20 * 3600 < sum(DELAYS) < 30 * 3600


def test_failed_attempt_waits_as_long_as_the_receiver_asks(desk: Desk, receiver: Receiver) -> None:
    session = desk.waiting()
    receiver.answers += [(503, {"retry-after": "1000"})]
    assert deliver(desk, receiver, 2, (0.0,)) == [1, 0]
    (row,) = notices(desk.engine)
    assert (row.state, row.error) == ("pending", "the answer was 503")
    assert row.next_time > desk.get(session)["updateTime"]


def test_given_up_after_the_last_attempt_and_the_session_says_so(desk: Desk, receiver: Receiver) -> None:
    session = desk.waiting()
    receiver.answers += [(500, {})] * 9
    assert deliver(desk, receiver, 5, (0.0, 0.0)) == [1, 1, 1, 0, 0]
    assert [(row.state, row.attempts) for row in notices(desk.engine)] == [("given_up", 3)]
    with reading(desk.engine) as db:
        query = select(EventRow.payload).where(EventRow.session_id == session, EventRow.type == "error")
        message = json.loads(db.exec(query).one())["message"]
    assert "given up after 3 attempts" in message
    assert "the answer was 500" in message
    assert desk.get(session)["status"] == "waiting"


def test_receiver_that_is_gone_is_asked_once(desk: Desk, receiver: Receiver) -> None:
    desk.waiting()
    receiver.answers += [(410, {})]
    assert deliver(desk, receiver, 2, (0.0, 0.0)) == [1, 0]
    assert [row.state for row in notices(desk.engine)] == ["given_up"]


def test_two_deliverers_take_each_notice_once(desk: Desk) -> None:
    for _ in range(12):
        desk.waiting()
    taken: list[str] = []
    barrier = threading.Barrier(4)

    def work() -> None:
        barrier.wait()
        while found := claim_notices(desk.engine, ["webhook"], 2):
            taken.extend(row.id for row in found)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == len(set(taken)) == 12


def test_claim_of_a_dead_deliverer_runs_out_and_a_late_one_settles_nothing(desk: Desk, receiver: Receiver) -> None:
    desk.waiting()
    (dead,) = claim_notices(desk.engine, ["webhook"], 8)
    assert deliver(desk, receiver) == [0]
    age(desk.engine, "claimed_until")
    (heir,) = claim_notices(desk.engine, ["webhook"], 8)
    assert (heir.id, heir.attempts) == (dead.id, 2)
    with writing(desk.engine) as db:
        assert not settle_notice(db, dead, "given_up")
        assert settle_notice(db, heir, "delivered")


def test_deleted_session_tells_nothing_more(desk: Desk, receiver: Receiver) -> None:
    session = desk.waiting()
    (claimed,) = claim_notices(desk.engine, ["webhook"], 8)
    sessions.delete_session(desk.engine, desk.settings, person(), session)
    assert notices(desk.engine) == []
    with writing(desk.engine) as db:
        assert not settle_notice(db, claimed, "given_up")


def test_settled_notices_are_dropped_after_a_week(desk: Desk, receiver: Receiver) -> None:
    desk.waiting()
    deliver(desk, receiver)
    desk.waiting()
    forget_settled(desk.engine)
    assert len(notices(desk.engine)) == 2
    age(desk.engine, "time")
    forget_settled(desk.engine)
    assert [row.state for row in notices(desk.engine)] == ["pending"]


def test_long_question_is_cut(desk: Desk, receiver: Receiver) -> None:
    desk.create(instruction="Run SFT " + "x" * 9000)
    session = desk.all()[0]["sessionId"]
    desk.ask(desk.turn(session), desk.plan(session))
    deliver(desk, receiver)
    assert len(receiver.deliveries[0].body) < 20_000
    assert "(cut;" in receiver.deliveries[0].verify()["data"]["instruction"]


def test_neither_secret_nor_url_is_logged(desk: Desk, receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    desk.waiting()
    receiver.answers += [(500, {})]
    with caplog.at_level(logging.WARNING):
        deliver(desk, receiver)
    assert "the answer was 500" in caplog.text
    assert SECRET.removeprefix("whsec_") not in caplog.text
    assert "s3cret-path" not in caplog.text


def test_both_secrets_sign_while_one_replaces_the_other(tmp_path: Path, receiver: Receiver) -> None:
    given: dict[str, Any] = {"webhook_url": receiver.url, "webhook_secret": f"{SECRET} {OTHER_SECRET}"}
    channel = open_channels(Settings(home=tmp_path, **given))["webhook"]

    async def send() -> None:
        await channel.send("msg_1", b'{"a": 1}')
        await channel.aclose()

    asyncio.run(send())
    assert receiver.deliveries[0].verify(SECRET) == receiver.deliveries[0].verify(OTHER_SECRET) == {"a": 1}


class Faulty:
    """A channel with a defect: it fails at the first notice as none should."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    async def send(self, notice_id: str, body: bytes) -> None:
        """Fail once."""
        self.sent.append(notice_id)
        if len(self.sent) == 1:
            raise TypeError("a defect")

    async def aclose(self) -> None:
        """Nothing is held."""


def test_a_defect_of_a_channel_is_logged_and_ends_no_delivery(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        channel = Faulty()
        deliverer = Deliverer(desk.engine, {"webhook": channel}, "http://pilot", poll_seconds=0.01)
        task = asyncio.create_task(deliverer.run())
        for number in (1, 2):
            desk.waiting()
            while len(channel.sent) < number:
                await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    with caplog.at_level(logging.ERROR):
        asyncio.run(asyncio.wait_for(work(), 30))
    assert ["defect of ours" in record.message for record in caplog.records] == [True]
