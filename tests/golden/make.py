"""`python -m tests.golden.make`: keep one session at each gate, and one in the middle of its work, as this release's.

Run it once for each release, before its version is raised, and commit what it writes; never again for the same release.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from pilotlight import __version__
from tests.fixtures.planner_control import DATASET, Control, ticket
from tests.fixtures.planner_desk import Desk, open_desk
from tests.golden.kept import RELEASES, describe_graph, pack

INSTRUCTION = f"Run SFT on {DATASET} using ember-1m. Use validation loss for evaluation."


def main() -> None:
    """Write `releases/<version>`; refuses when that exists."""
    folder = RELEASES / __version__
    if folder.exists():
        raise SystemExit(f"{folder} exists: what a release left is never made anew.")
    for name, drive in GATES.items():
        with tempfile.TemporaryDirectory(prefix="golden-") as place:
            control = Control()
            control.add_dataset(DATASET, [ticket(number) for number in range(60)])
            control.instructions = [INSTRUCTION]
            with open_desk(control, Path(place)) as desk:
                drive(desk, control)
            pack(control, Path(place) / "work", folder, name)
        print(f"{name}: {[question.kind for question in control.questions.values()]}")
    (folder / "graph.json").write_text(json.dumps(describe_graph(), indent=2) + "\n")


def wait_clarify(desk: Desk, control: Control) -> None:
    """The data set is missing."""
    control.instructions = ["Run SFT on my data."]
    desk.run()


def wait_plan(desk: Desk, control: Control) -> None:
    """Plan and cost are to be approved."""
    desk.run()


def wait_promotion(desk: Desk, control: Control) -> None:
    """The sweep is done."""
    wait_plan(desk, control)
    control.reply("ok")
    desk.run()


def wait_increase(desk: Desk, control: Control) -> None:
    """A candidate was ended at its approved cost."""
    control.limited = {"c2": 1}
    wait_promotion(desk, control)


def wait_trouble(desk: Desk, control: Control) -> None:
    """Three jobs in a row failed."""
    control.failing = {"c1", "c2", "c3"}
    wait_promotion(desk, control)


def stop_work(desk: Desk, control: Control) -> None:
    """The runner is killed while the candidates train."""
    wait_plan(desk, control)
    control.reply("ok")
    own = {"SOCKET": str(desk.socket), "WORKSPACE": str(desk.work), "POLL_SECONDS": "0.3"}
    environment = os.environ | {f"PILOTLIGHT_{name}": value for name, value in own.items()}
    with subprocess.Popen([sys.executable, "-m", "runner.main"], env=environment) as process:
        while not any(job["looks"] for job in control.jobs.values()):
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)


GATES: dict[str, Callable[[Desk, Control], None]] = {
    "clarify": wait_clarify,
    "plan": wait_plan,
    "promotion": wait_promotion,
    "increase": wait_increase,
    "trouble": wait_trouble,
    "work": stop_work,
}

if __name__ == "__main__":
    main()
