"""The two channels on their own: what they refuse, how long they wait, and what a command gets to see."""

import asyncio
import base64
import json
import os
import shlex
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from standardwebhooks.webhooks import hmac_data

from agent.notices.channel import NotDeliveredError, open_channels
from agent.notices.command import CommandChannel
from agent.notices.webhook import WebhookChannel, sign
from pilotlight.errors import FailedPrecondition
from pilotlight.settings import Settings
from tests.fixtures.receiver import SECRET, Receiver


def settings(tmp_path: Path, **given: Any) -> Settings:
    return Settings(home=tmp_path, **given)


def python(program: str) -> str:
    return shlex.join([sys.executable, "-I", "-c", program])


def run(channel: CommandChannel | WebhookChannel) -> None:
    async def send() -> None:
        try:
            await channel.send("msg_1", b'{"type": "session.waiting"}')
        finally:
            await channel.aclose()

    asyncio.run(send())


def test_signature_is_that_of_the_specification() -> None:
    """Against the reference implementation."""
    headers = sign([b"\x31" * 24], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert headers["webhook-id"] == "msg_p5jXN8AQM9LWM0D4loKWxJek"
    assert headers["webhook-timestamp"] == "1614265330"
    digest = hmac_data(b"\x31" * 24, b'msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.{"test": 2432232314}')
    assert headers["webhook-signature"] == f"v1,{base64.b64encode(digest).decode()}"


def test_no_channel_without_settings(tmp_path: Path) -> None:
    assert open_channels(settings(tmp_path)) == {}
    given = {"webhook_url": "https://example.test/x", "webhook_secret": SECRET, "notify_command": "true"}
    assert set(open_channels(settings(tmp_path, **given))) == {"webhook", "command"}


@pytest.mark.parametrize("url", ["ftp://h/x", "file:///etc/passwd", "h/x", "http://", "javascript:1", "unix:/x"])
def test_only_http_is_posted_to(tmp_path: Path, url: str) -> None:
    with pytest.raises(FailedPrecondition, match="no http"):
        open_channels(settings(tmp_path, webhook_url=url, webhook_secret=SECRET))


@pytest.mark.parametrize("secret", ["", "abc", "whsec_", "whsec_c2hvcnQ=", "whsec_!" * 5, SECRET[6:], f"{SECRET} x",
                                    "whsec_" + "YWFh" * 30])  # fmt: skip
def test_secret_that_is_none_is_refused_and_not_shown(tmp_path: Path, secret: str) -> None:
    with pytest.raises(FailedPrecondition) as refused:
        open_channels(settings(tmp_path, webhook_url="https://example.test/x", webhook_secret=secret))
    assert "PILOTLIGHT_WEBHOOK_SECRET" in refused.value.message
    assert "os.urandom(32)" in refused.value.hint
    assert len(secret) < 7 or secret not in str(refused.value)


def test_receiver_that_does_not_answer_in_time_is_left(tmp_path: Path) -> None:
    with Receiver() as receiver:
        receiver.stall = 1.5
        channel = WebhookChannel(receiver.url, SECRET, seconds=0.3)
        started = time.monotonic()
        with pytest.raises(NotDeliveredError, match=r"did not answer within 0\.3 s"):
            run(channel)
        assert time.monotonic() - started < 1.2


def test_receiver_that_is_not_there_is_an_attempt_that_failed() -> None:
    with pytest.raises(NotDeliveredError, match=r"127\.0\.0\.1 could not be reached") as failed:
        run(WebhookChannel("http://127.0.0.1:9/s3cret", SECRET))
    assert "s3cret" not in str(failed.value)
    assert not failed.value.final


def test_command_gets_the_json_and_none_of_our_secrets(tmp_path: Path) -> None:
    os.environ["PILOTLIGHT_TEST_API_KEY"] = "never-to-be-seen"
    try:
        run(CommandChannel(python(
            "import json, os, pathlib, sys\n"
            "pathlib.Path('seen').write_text(json.dumps([json.load(sys.stdin), dict(os.environ)]))"
        ), tmp_path))  # fmt: skip
    finally:
        del os.environ["PILOTLIGHT_TEST_API_KEY"]
    body, environment = json.loads((tmp_path / "seen").read_text())
    assert body == {"type": "session.waiting"}
    assert environment["PILOTLIGHT_NOTICE_ID"] == "msg_1"
    assert set(environment) <= {"PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "LC_CTYPE", "PILOTLIGHT_NOTICE_ID"}


def test_command_is_no_shell(tmp_path: Path) -> None:
    run(CommandChannel(f"{sys.executable} -c pass ; touch {tmp_path}/evil $(touch {tmp_path}/evil)", tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["true", python("print('x' * 10**6)"), python("import sys; sys.stdin.close()")])
def test_command_need_not_read_and_may_print_much(tmp_path: Path, command: str) -> None:
    run(CommandChannel(command, tmp_path))


def test_command_that_fails_or_is_not_there_did_not_deliver(tmp_path: Path) -> None:
    with pytest.raises(NotDeliveredError, match="ended with code 3"):
        run(CommandChannel(python("raise SystemExit(3)"), tmp_path))
    with pytest.raises(NotDeliveredError, match="could not be started: No such file"):
        run(CommandChannel("/nonexistent/notify", tmp_path))


def test_command_that_takes_too_long_is_killed_with_its_children(tmp_path: Path) -> None:
    program = (
        "import os, pathlib, time\n"
        "child = os.fork()\n"
        "if child: pathlib.Path('pids').write_text(f'{os.getpid()} {child}')\n"
        "time.sleep(60)\n"
    )
    with pytest.raises(NotDeliveredError, match="took longer"):
        run(CommandChannel(python(program), tmp_path, seconds=1.5))
    deadline = time.monotonic() + 5
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    while any(psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_command_whose_child_keeps_the_output_open_is_done_when_it_is(tmp_path: Path) -> None:
    program = "import os, time\nif os.fork() == 0: time.sleep(4)\n"
    started = time.monotonic()
    run(CommandChannel(python(program), tmp_path))
    assert time.monotonic() - started < 3.5


@pytest.mark.parametrize("command", ["'", "  "])
def test_command_that_cannot_be_split_is_refused_at_the_start(tmp_path: Path, command: str) -> None:
    with pytest.raises(FailedPrecondition, match="PILOTLIGHT_NOTIFY_COMMAND"):
        open_channels(settings(tmp_path, notify_command=command))
