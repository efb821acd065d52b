"""Fixtures of the planner's tests; see tests/fixtures/planner_desk.py."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.planner_control import DATASET, Control, ticket
from tests.fixtures.planner_desk import Desk, open_desk


@pytest.fixture
def control() -> Control:
    control = Control()
    control.add_dataset(DATASET, [ticket(number) for number in range(60)])
    control.instructions = [f"Run SFT on {DATASET} using ember-1m. Use validation loss for evaluation."]
    return control


@pytest.fixture
def desk(control: Control, tmp_path: Path) -> Iterator[Desk]:
    with open_desk(control, tmp_path) as desk:
        yield desk


@pytest.fixture(scope="session")
def nursery() -> Iterator[subprocess.Popen[str]]:
    """The parent that runners are forked from: it has imported everything once."""
    pipe, root = subprocess.PIPE, Path(__file__).resolve().parents[3]
    command = [sys.executable, str(Path(__file__).with_name("zygote.py"))]
    environment = os.environ | {"PYTHONPATH": str(root)}
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment) as process:
        yield process


class Zygote:
    """Runs each turn of a session in a process of its own."""

    def __init__(self, desk: Desk, process: subprocess.Popen[str]) -> None:
        self.control, self.process = desk.control, process
        self.env = {
            "PILOTLIGHT_SOCKET": str(desk.socket),
            "PILOTLIGHT_WORKSPACE": str(desk.work),
            "PILOTLIGHT_POLL_SECONDS": "0.01",
        }

    def run(self, kill_after: float | None = None) -> int:
        """One turn; with `kill_after` the process is killed so many seconds after its start. Its exit code."""
        assert self.process.stdin
        self.process.stdin.write(json.dumps({"env": self.env}) + "\n")
        self.process.stdin.flush()
        self.control.victim = int(self._line().split()[1])
        timer = threading.Timer(kill_after, self._kill) if kill_after is not None else None
        if timer:
            timer.start()
        code = int(self._line().split()[1])
        if timer:
            timer.cancel()
        return code

    def _kill(self) -> None:
        self.control.kills += 1
        os.kill(self.control.victim, signal.SIGKILL)

    def _line(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline()


@pytest.fixture
def zygote(desk: Desk, nursery: subprocess.Popen[str]) -> Zygote:
    return Zygote(desk, nursery)
