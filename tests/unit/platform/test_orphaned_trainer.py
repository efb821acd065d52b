"""A trainer whose platform died before it could write down that it started it is found, and not started twice."""

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
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        found = launcher.find(spec)
        while found is None:  # it is forked, and not yet what it becomes
            time.sleep(0.01)
            found = launcher.find(spec)
        assert found.pid == process.pid
        assert launcher.alive(found)
        assert launcher.find(tmp_path / "spec.json") is None
        process.communicate()
    assert launcher.find(spec) is None
