"""Crash points: each stands once in the source, and nothing is armed by one variable alone."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from pilotlight.crashpoints import Point

ROOT = Path(__file__).parents[3]
FOLDERS = {"control": ("agent", "gateway"), "runner": ("runner",), "platform": ("local_platform",)}
REACH = "from pilotlight.crashpoints import Point, reach\nfor _ in range(3): reach(Point.RUNNER_FILE_WRITTEN)\n"


@pytest.mark.parametrize("point", Point)
def test_a_point_stands_once_in_the_code_of_its_process(point: Point) -> None:
    texts = [
        path.read_text("utf-8")
        for folder in FOLDERS[point.value.partition(".")[0]]
        for path in (ROOT / folder).rglob("*.py")
    ]
    calls = [text for text in texts for _ in re.findall(rf"\breach\(Point\.{point.name}\)", text)]
    assert len(calls) == 1


def reach(tmp_path: Path, **variables: str) -> tuple[int, str]:
    """The exit code of a process that reaches a point three times, and what it wrote down."""
    log = tmp_path / "log"
    environment = {"PYTHONPATH": str(ROOT), "PILOTLIGHT_CRASH_LOG": str(log)} | variables
    done = subprocess.run(
        [sys.executable, "-S", "-c", REACH], env=environment, capture_output=True, text=True, check=False
    )
    return done.returncode, log.read_text().partition(" ")[2] if log.exists() else done.stderr[-300:]


def test_nothing_is_armed_without_both_variables(tmp_path: Path) -> None:
    point = "runner.file.written"
    assert reach(tmp_path) == (0, "")
    assert reach(tmp_path, PILOTLIGHT_CRASH_AT=point) == (0, "")
    assert reach(tmp_path, PILOTLIGHT_CRASH_TESTS="1") == (0, "")
    assert reach(tmp_path, PILOTLIGHT_CRASH_TESTS="0", PILOTLIGHT_CRASH_AT=point) == (0, "")


def test_an_armed_point_kills_at_the_hit_that_was_asked_for(tmp_path: Path) -> None:
    armed = {"PILOTLIGHT_CRASH_TESTS": "1"}
    assert reach(tmp_path, PILOTLIGHT_CRASH_AT="runner.file.written", **armed) == (-9, "runner.file.written:1\n")
    (tmp_path / "log").unlink()
    several = "runner.finish.sent,runner.file.written:3"
    assert reach(tmp_path, PILOTLIGHT_CRASH_AT=several, **armed) == (-9, "runner.file.written:3\n")
    (tmp_path / "log").unlink()
    assert reach(tmp_path, PILOTLIGHT_CRASH_AT="runner.file.written:4", **armed) == (0, "")


def test_a_point_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    code, text = reach(tmp_path, PILOTLIGHT_CRASH_TESTS="1", PILOTLIGHT_CRASH_AT="runner.nowhere")
    assert code == 1
    assert "runner.nowhere" in text
