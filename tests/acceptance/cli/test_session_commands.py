import json
import os
import pty
import re
import time
from pathlib import Path

import pytest

from tests.fixtures.command import CommandLine
from tests.fixtures.control import ControlServer

PREFIX = re.compile(r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\] \w+: ")


def create(line: CommandLine, instruction: str) -> str:
    printed = line.read("session", "create", "--instruction", instruction, "--scope", "optimize")
    found = re.fullmatch(r"Session ID: (\d+-[0-9a-f]{4})\n", printed)
    assert found, printed
    return found[1]


def test_the_loop_of_the_documents(line: CommandLine):
    session = create(line, "say first thing; ask which; say second thing; finish")
    first = line.read("session", "events", session, "--wait").splitlines()
    assert first[-1] == "[done] session status: waiting"
    blocks = [number for number, text in enumerate(first) if "] status_info: " in text]
    assert PREFIX.match(first[blocks[-1]])
    assert "status_info: ask_user missing_input which" in first[blocks[-1]]
    assert first[blocks[-1] + 1] == "Which model? (which)"
    shown = line.read("session", "get", session)
    assert {"Status: waiting", "Question: missing_input which", "Status Info: Which model? (which)"} <= set(
        shown.splitlines()
    )
    assert line.read("session", "update", session, "-n", "a").endswith("Status: pending\n")
    second = line.read("events", "session", session, "-w").splitlines()
    assert second[: len(first) - 1] == first[:-1], "the full history is dumped again"
    assert second[-1] == "[done] session status: succeeded"
    assert sum("second thing" in text for text in second) == 1
    assert line.read("session", "events", session) == "\n".join(second) + "\n"
    last = int(
        line.read("session", "events", session, "-o", "json").splitlines()[-1].split('"seq": "')[1].split('"')[0]
    )
    assert line.read("session", "events", session, "-w", "--after", str(last)) == second[-1] + "\n"


def test_without_wait_it_ends_at_once_while_the_session_runs(line: CommandLine, control: ControlServer):
    session = create(line, "say hello; wait go; finish")
    control.settle_until(session, lambda view: view["lastSeq"] >= "3")
    printed = line.read("session", "events", session)
    assert "status_info: hello" in printed
    assert printed.endswith("[done] session status: running\n")
    assert line.read("session", "cancel", session).endswith("Status: cancelled\n")
    assert line.fail("session", "update", session, "-n", "go on").startswith("Error: ")
    assert line.read("session", "delete", session) == f"Deleted session {session}.\n"
    assert "was not found" in line.fail("session", "get", session)


def test_a_stream_outlives_a_restart_of_the_server(tmp_path: Path):
    control = ControlServer(tmp_path / "control").start()
    port = control.http.base_url.port or 0
    key = (control.settings.home / "admin.key").read_text().strip()
    line = CommandLine(tmp_path, f"http://127.0.0.1:{port}", key)
    try:
        session = control.create("say one; flood 30; wait go; say two; flood 30; ask q")
        with (tmp_path / "printed").open("w+") as output:
            process = line.start("session", "events", session, "--wait", output=output)
            await_text(tmp_path / "printed", "status_info: one")
            control.stop()
            time.sleep(0.5)
            control.start(port)
            control.workspace(session).joinpath("go").touch()
            assert process.wait(60) == 0, process.stderr and process.stderr.read()
            if process.stderr:
                process.stderr.close()
        printed = (tmp_path / "printed").read_text()
        assert printed.count("status_info: one") == printed.count("status_info: two") == 1
        assert printed == line.read("session", "events", session)
        assert printed.endswith("[done] session status: waiting\n")
    finally:
        control.stop()


def test_approval_by_decision_is_bound_to_the_plan(line: CommandLine, control: ControlServer):
    session = control.create("plan; finish")
    view = control.settle(session, "waiting")
    question, digest = view["question"]["questionId"], view["plan"]["planHash"]
    shown = line.read("session", "get", session)
    assert f"Question: plan_approval {question}" in shown
    assert f"Plan Hash: {digest}" in shown
    decide = ("session", "update", session, "--question", question, "--decision", "approve", "--plan-hash")
    line.fail(*decide, "0" * 64)
    assert line.read("session", "get", session, "-o", "json").count('"waiting"')
    line.read(*decide, digest)
    assert line.read("session", "events", session, "-w").endswith("[done] session status: succeeded\n")


def test_dry_run_prints_the_request_and_does_nothing(line: CommandLine, control: ControlServer):
    before = control.get("")["totalSize"]
    printed = line.read("session", "create", "-n", "say hi", "--dry-run")
    head, _, body = printed.partition("\n")
    assert head == "POST /v1/accounts/acct/sessions"
    assert json.loads(body)["instruction"] == "say hi"
    assert control.get("")["totalSize"] == before


def test_on_a_terminal_the_feed_is_live_and_says_the_same(line: CommandLine, control: ControlServer):
    session = control.create("say hello :wave: [red]; flood 3; ask q")
    control.settle(session, "waiting")
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "rb", buffering=0) as screen, os.fdopen(theirs, "wb", buffering=0) as terminal:
        process = line.start("session", "events", session, "--wait", output=terminal.fileno())
        shown = b""
        while b"[done]" not in shown:
            shown += os.read(screen.fileno(), 4096)
        assert process.wait(30) == 0
        process.communicate()
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())
    assert "status_info: hello :wave: [red]" in text
    assert "status_info: ask_user missing_input q" in text
    assert "\x1b[?25h" in shown.decode(), "the cursor is shown again"


def test_list_takes_its_flags(line: CommandLine, control: ControlServer):
    made = [control.create("finish") for _ in range(3)]
    for session in made:
        control.settle(session, "succeeded")
    names = [f"accounts/acct/sessions/{session}" for session in made]
    first = control.get(f"/{made[0]}")["createTime"]
    flags = ("--filter", f"createTime >= '{first}'", "--order-by", "createTime", "--page-size", "1", "-o", "flag")
    assert line.read("list", "sessions", *flags).split() == names
    assert line.read("session", "list", *flags, "--no-paginate").split() == names[:1]
    newest = json.loads(line.read("session", "list", "-o", "json"))[0]
    assert newest["sessionId"] == made[-1]
    assert made[0] in line.read("session", "list")


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("session", "create"), 2, "Say what you want"),
        (("session", "create", "-n", " "), 2, "Say what you want"),
        (("session", "create", "-n", "x", "--scope", "other"), 2, "optimize"),
        (("session", "get"), 2, "Missing argument"),
        (("session", "fly"), 2, "No such command"),
        (("session", "update", "1-2", "--decision", "approve"), 2, "--question"),
        (("session", "get", "1-2"), 1, "was not found"),
        (("session", "get", "a?b/../c"), 1, "404"),
        (("session", "events", "1-2"), 1, "was not found"),
        (("session", "events", "1-2", "--wait"), 1, "was not found"),
        (("session", "update", "1-2", "-n", "x"), 1, "was not found"),
        (("--api-key", "fw_wrong", "whoami"), 1, "Invalid API key"),
        (("--api-key", "schlüssel", "whoami"), 1, "characters"),
        (("-a", "other", "session", "list"), 1, "[403]"),
        (("-p", "nowhere", "whoami"), 2, "Profile"),
    ],
)
def test_failures_are_one_paragraph_with_an_exit_code(
    line: CommandLine, arguments: tuple[str, ...], code: int, says: str
):
    assert says in line.fail(*arguments, code=code)


@pytest.mark.parametrize("words", [("whoami",), ("session", "events", "1-2", "-w"), ("session", "create", "-n", "x")])
def test_an_unreachable_server_is_said_with_the_next_step(line: CommandLine, words: tuple[str, ...]):
    text = line.fail(*words, variables={"FIREWORKS_BASE_URL": "http://127.0.0.1:1"})
    assert "Cannot reach http://127.0.0.1:1" in text
    assert "pilotlight up" in text
    assert "http" in line.fail(*words, variables={"FIREWORKS_BASE_URL": "nonsense"}, code=2)


def await_text(path: Path, text: str) -> None:
    deadline = time.monotonic() + 30
    while text not in path.read_text():
        assert time.monotonic() < deadline, path.read_text()
        time.sleep(0.05)
