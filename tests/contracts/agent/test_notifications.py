"""Notifications of a real control process: at each rest, and none lost while it or its receiver is down."""

import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.control import ControlServer
from tests.fixtures.receiver import SECRET, Receiver


def notifying(home: Path, url: str, **more: Any) -> ControlServer:
    return ControlServer(home, webhook_url=url, webhook_secret=SECRET, **more)


def test_each_rest_is_told_by_webhook_and_command(tmp_path_factory: pytest.TempPathFactory) -> None:
    home = tmp_path_factory.mktemp("n")
    program = "import pathlib, sys; pathlib.Path(sys.argv[1]).open('a').write(sys.stdin.read() + chr(10))"
    command = shlex.join([sys.executable, "-I", "-c", program, "told"])
    with Receiver() as receiver:
        control = notifying(home, receiver.url, notify_command=command).start()
        try:
            session = control.create("ask q; finish")
            control.settle(session, "waiting")
            receiver.wait(lambda it: len(it.deliveries) == 1)
            control.update(session, instruction="A")
            control.settle(session, "succeeded")
            receiver.wait(lambda it: len(it.deliveries) == 2)
            other = control.create("crash")
            control.settle(other, "failed")
            receiver.wait(lambda it: len(it.deliveries) == 3)
        finally:
            control.stop()
        bodies = [delivery.verify() for delivery in receiver.deliveries]
    assert [body["type"] for body in bodies] == ["session.waiting", "session.succeeded", "session.failed"]
    assert bodies[0]["data"]["question"]["text"] == "Which model? (q)"
    assert "boom" in bodies[2]["data"]["reason"]
    told = (home / "told").read_text().splitlines()
    assert len(told) >= 2, "the command may lag behind the webhook by one"


def test_notice_outlives_a_restart_and_a_receiver_that_was_down(tmp_path_factory: pytest.TempPathFactory) -> None:
    home = tmp_path_factory.mktemp("n")
    control = notifying(home, "http://127.0.0.1:9/hook").start()
    session = control.create("ask q; finish")
    control.settle(session, "waiting")
    control.stop()
    with Receiver() as receiver:
        again = notifying(home, receiver.url).start()
        try:
            receiver.wait(lambda it: len(it.deliveries) == 1, seconds=30)
        finally:
            again.stop()
        assert receiver.deliveries[0].verify()["data"]["sessionId"] == session
