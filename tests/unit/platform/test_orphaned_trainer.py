"""A trainer whose platform died before it could write down that it started it is found, and not started twice."""

import contextlib
import subprocess
import sys
import time
from pathlib import Path

from local_platform.jobs.launcher import LocalLauncher

TRAINER = "import sys, time; sys.stdin.read()"


def test_a_running_trainer_is_found_by_its_specification(tmp_path: Path) -> None:
    launcher, spec = LocalLauncher(), tmp_path / "job" / "spec.json"
    assert launcher.find(spec) is None
    command = [sys.executable, "-S", "-c", TRAINER, "-m", "local_platform.training", str(spec)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process, contextlib.ExitStack() as stack:
        stack.callback(process.kill)
        deadline = time.monotonic() + 30
        while (found := launcher.find(spec)) is None:  # it is forked, and not yet what it becomes
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert found.pid == process.pid
        assert launcher.alive(found)
        assert launcher.find(tmp_path / "spec.json") is None
        process.communicate()
    assert launcher.find(spec) is None
