"""`pilotlight backup` of a control process at work, and `pilotlight restore` of it elsewhere, as commands."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fixtures.control import ControlServer


def pilotlight(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "HOME": str(home.parent), "PILOTLIGHT_HOME": str(home)}
    command = [sys.executable, "-P", "-m", "cli.operator", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)


def test_waiting_session_goes_on_in_a_restored_home(tmp_path_factory: pytest.TempPathFactory) -> None:
    """It is approved there with the hash that was shown before; what came after the backup never happened there."""
    folder = tmp_path_factory.mktemp("b")
    control = ControlServer(folder / "home").start()
    try:
        session = control.create("write outputs/a.txt kept; plan; write outputs/b.txt new; finish")
        view = control.settle(session, "waiting")
        made = pilotlight(control.settings.home, "backup", str(folder / "backup"))
        assert made.returncode == 0, made.stderr
        assert "Sessions: 1\n" in made.stdout
        control.update(session, answer={"questionId": view["question"]["questionId"], "decision": "approve"})
        control.settle(session, "succeeded")
    finally:
        control.stop()
    restored = pilotlight(folder / "again", "restore", str(folder / "backup"))
    assert restored.returncode == 0, restored.stderr
    key = (folder / "home" / "admin.key").read_text()
    assert key not in made.stdout + made.stderr + restored.stdout + restored.stderr
    refused = pilotlight(folder / "again", "restore", str(folder / "backup"))
    assert (refused.returncode, "is not empty" in refused.stderr) == (1, True)
    again = ControlServer(folder / "again").start()
    try:
        assert again.get(f"/{session}")["status"] == "waiting"
        assert {item["path"] for item in again.get(f"/{session}")["artifacts"]} >= {"outputs/a.txt", "plan.md"}
        answer = {"questionId": view["question"]["questionId"], "decision": "approve"}
        again.update(session, answer=answer, planHash=view["question"]["planHash"])
        again.settle(session, "succeeded")
        assert (again.workspace(session) / "outputs/a.txt").read_text() == "kept"
    finally:
        again.stop()
