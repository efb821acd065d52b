"""`firectl session events --wait` through everything that can happen to a connection. Real processes and sockets."""

import json
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.fixtures.bad_proxy import BadProxy
from tests.fixtures.command import CommandLine
from tests.fixtures.control_process import ControlProcess

EVENTS = 300


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlProcess]:
    process = ControlProcess(tmp_path_factory.mktemp("p")).start()
    yield process
    process.kill()


def watch(line: CommandLine, session: str, *more: str) -> "subprocess.Popen[str]":
    return line.start("session", "events", session, "--wait", *more, output=subprocess.PIPE)


def read_seqs(watcher: "subprocess.Popen[str]") -> tuple[list[int], str]:
    output, complaint = watcher.communicate(timeout=90)
    assert watcher.returncode == 0, complaint
    return [int(json.loads(text)["seq"]) for text in output.splitlines()], complaint


def wait_for_growth(files: list[Path], sizes: list[int]) -> None:
    deadline = time.monotonic() + 60
    while not all(file.stat().st_size > size for file, size in zip(files, sizes, strict=True)):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_every_event_is_printed_once_though_the_server_is_killed_again_and_again(
    process: ControlProcess, tmp_path: Path
) -> None:
    session = process.create(f"flood {EVENTS}; finish")
    line, files = CommandLine(tmp_path, process.url, process.key), [tmp_path / f"seen-{number}" for number in range(3)]
    with ExitStack() as stack:
        outputs = [stack.enter_context(file.open("w")) for file in files]
        watchers = [line.start("session", "events", session, "--wait", "-o", "json", output=out) for out in outputs]
        kills = 0
        while kills < 3 and process.status(session) in ("pending", "running"):
            sizes = [file.stat().st_size for file in files]
            wait_for_growth(files, sizes)
            process.kill()
            process.start()
            kills += 1
        assert kills >= 2
        for watcher in watchers:
            complaint = watcher.communicate(timeout=90)[1]
            assert watcher.returncode == 0, complaint
    log = process.events(session)
    for file in files:
        assert [int(json.loads(text)["seq"]) for text in file.read_text().splitlines()] == list(range(1, len(log) + 1))
    assert [event["payload"]["step"] for event in log if event["type"] == "job"] == list(range(EVENTS))


def test_what_a_proxy_does_repeats_and_skips_nothing(process: ControlProcess, tmp_path: Path) -> None:
    session = process.create("flood 150; finish")
    with BadProxy(process.port) as proxy:
        line = CommandLine(tmp_path, proxy.url, process.key)
        seqs, _ = read_seqs(watch(line, session, "-o", "json"))
    assert seqs == list(range(1, len(process.events(session)) + 1))
    assert proxy.done == set(proxy.TRICKS)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """A shell starts what runs in its background with Ctrl-C ignored, and children inherit that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_ends_cleanly_and_says_how_to_go_on(process: ControlProcess, tmp_path: Path) -> None:
    session = process.create("say one; wait go; finish")
    line = CommandLine(tmp_path, process.url, process.key)
    watcher = watch(line, session)
    assert watcher.stdout
    seen = ""
    while "one" not in seen:
        seen = watcher.stdout.readline()
    watcher.send_signal(signal.SIGINT)
    rest, complaint = watcher.communicate(timeout=20)
    assert (watcher.returncode, rest) == (130, "")
    assert f"firectl session events {session} --wait --after 3" in complaint
    assert "Traceback" not in complaint


def test_nobody_there_is_said_soon_and_a_late_server_is_found(tmp_path: Path, process: ControlProcess) -> None:
    session = process.create("finish")
    key = process.key
    process.kill()
    line = CommandLine(tmp_path, process.url, key)
    late = watch(line, session, "-o", "json")
    started = threading.Thread(target=process.start)
    started.start()
    seqs, _ = read_seqs(late)
    started.join()
    assert seqs == list(range(1, len(process.events(session)) + 1))
    process.kill()
    begun = time.monotonic()
    assert "Cannot reach" in line.fail("session", "events", session, "--wait")
    assert time.monotonic() - begun < 40
