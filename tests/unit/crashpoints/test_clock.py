"""The offset of the clock is for crash tests only, and is read anew each time."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
READ = """
import time
from pathlib import Path
from pilotlight.clock import now
first = now().timestamp() - time.time()
Path("offset").write_text("-600")
print(round(first), round(now().timestamp() - time.time()))
"""


def read(folder: Path, **variables: str) -> str:
    """How far the clock is off, before and after the file changes."""
    (folder / "offset").write_text("30")
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PILOTLIGHT_CLOCK_OFFSET": "offset"} | variables
    command = [sys.executable, "-S", "-c", READ]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True).stdout


def test_the_clock_is_moved_in_crash_tests_only(tmp_path: Path) -> None:
    assert read(tmp_path) == "0 0\n"
    assert read(tmp_path, PILOTLIGHT_CRASH_TESTS="1") == "30 -600\n"
