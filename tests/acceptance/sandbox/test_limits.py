"""Limits are settings, they reach the processes, and a sandbox does not outlive whoever started it."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Literal

import psutil
import pytest

from agent.launchers import choose_launcher, evaluator_limits, sandbox_limits
from agent.processes import stop_process
from agent.turns import Turn
from pilotlight.errors import FailedPrecondition
from pilotlight.settings import Settings
from runner.sandbox.conformance.suite import run_probes
from runner.sandbox.launch import find_bwrap, launch, prepare
from runner.sandbox.spec import LaunchSpec, Limits, Profile, read_spec, write_spec
from tests.fixtures.sandbox import FAMILY, HOG, await_nothing_left, is_alive, run_inside, with_code

ROOT = Path(__file__).parents[3]


def test_every_limit_of_a_runner_is_a_setting() -> None:
    names = [name for name in Limits.__dataclass_fields__ if name in Limits.__annotations__]
    changed = {name: 2 << 30 if name == "address_space_bytes" else 600 << 20 for name in names}
    settings = Settings(**{f"sandbox_{name}": value for name, value in changed.items()})  # pyright: ignore
    assert sandbox_limits(settings) == Limits(**changed)
    assert sandbox_limits(Settings()) == Limits()


def test_an_evaluator_has_limits_of_its_own_and_never_wider_ones_than_a_runner() -> None:
    settings = Settings(sandbox_evaluator_seconds=7, sandbox_evaluator_memory_bytes=99 << 20, sandbox_open_files=70)
    limits = evaluator_limits(settings.model_copy(update={"sandbox_evaluator_result_bytes": 5}))
    assert (limits.wall_seconds, limits.memory_bytes, limits.result_bytes) == (7, 99 << 20, 5)
    assert (limits.open_files, limits.processes) == (70, 32)


@pytest.mark.parametrize("start", ["fork", "exec"])
def test_the_settings_reach_the_process_of_a_turn(tmp_path: Path, start: Literal["fork", "exec"]) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "socket").mkdir()
    turn = Turn("acct", "session", 1, 1, 3, "user", "user", None)

    async def read_limits() -> str:
        settings = Settings(home=tmp_path, sandbox_open_files=77, sandbox_cpu_seconds=99, runner_start=start)
        launcher = choose_launcher(settings)
        process = await launcher(turn, tmp_path / "work", tmp_path / "socket")
        seen: list[str] = []
        while process.returncode is None and not seen:
            texts = (_read_limits(pid) for pid in (process.pid, *_list_below(process.pid)))
            seen = [text for text in texts if " 77 " in text]
            await asyncio.sleep(0.01)
        await stop_process(process)
        await process.communicate()
        await launcher.aclose()
        return seen[0]

    lines = asyncio.run(read_limits()).splitlines()
    found = {line[:26].strip(): line[26:].split()[:2] for line in lines}
    assert found["Max open files"] == ["77", "77"]
    assert found["Max cpu time"] == ["99", "99"]
    assert found["Max core file size"] == ["0", "0"]


def _list_below(pid: int) -> list[int]:
    return [process.pid for process in psutil.Process(pid).children(recursive=True)]


def _read_limits(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/limits").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def test_a_specification_survives_its_journey(spec: LaunchSpec) -> None:
    assert read_spec(write_spec(spec)) == spec
    evaluator = LaunchSpec(session="x", profile="evaluator")
    assert read_spec(write_spec(evaluator)) == evaluator


def test_a_profile_has_its_folders_and_no_others(spec: LaunchSpec) -> None:
    for change in ({"profile": "evaluator"}, {"workspace": None}, {"socket_directory": None}):
        with pytest.raises(ValueError, match="evaluator has neither"):
            replace(spec, **change)  # pyright: ignore[reportArgumentType]


def test_a_runner_that_holds_too_much_memory_is_ended_and_the_reason_is_said(spec: LaunchSpec) -> None:
    limits = replace(spec.limits, memory_bytes=256 << 20)
    code, _, complaint = asyncio.run(run_inside(with_code(replace(spec, limits=limits), HOG)))
    assert code == -signal.SIGKILL
    assert "MB of memory, more than 256 MB" in complaint
    await_nothing_left(spec.uid)


def test_processes_are_bounded_and_other_sandboxes_of_the_user_do_not_count(spec: LaunchSpec) -> None:
    """By the kernel's own counting since 5.14; before that only a user ID of the session's own bounds them."""
    code = "import os, time\nfor n in range(50):\n  if os.fork() == 0: time.sleep(60)"
    limits = replace(spec.limits, processes=20)
    exit_code, _, complaint = asyncio.run(run_inside(with_code(replace(spec, limits=limits), code)))
    assert (exit_code, "BlockingIOError" in complaint) == (1, True), complaint
    await_nothing_left(spec.uid)


SUPERVISOR = """
import asyncio, sys
from runner.sandbox.launch import launch
from runner.sandbox.spec import read_spec
async def go():
    process = await launch(read_spec(sys.argv[1]))
    print(await process.stdout.readline(), flush=True)
    await process.wait()
asyncio.run(go())
"""


def test_when_whoever_started_it_is_killed_nothing_is_left(spec: LaunchSpec) -> None:
    command = [sys.executable, "-c", SUPERVISOR, write_spec(with_code(spec, FAMILY.strip()))]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as supervisor:
        assert supervisor.stdout is not None
        assert "up" in supervisor.stdout.readline()
        inside = [process.pid for process in psutil.Process(supervisor.pid).children(recursive=True)]
        assert len(inside) >= 7
        supervisor.kill()
    end = time.monotonic() + 3
    while [pid for pid in inside if is_alive(pid)]:
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize("milliseconds", [1, 60, 120, 200, 300])
def test_a_sandbox_that_is_ended_while_it_starts_leaves_nothing(milliseconds: int, spec: LaunchSpec) -> None:
    async def go() -> None:
        process = await launch(with_code(spec, "import time; time.sleep(60)"))
        await asyncio.sleep(milliseconds / 1000)
        await stop_process(process)

    asyncio.run(go())
    await_nothing_left(spec.uid)


def test_a_stage_whose_launcher_has_ended_starts_nothing(spec: LaunchSpec) -> None:
    command = prepare(with_code(spec, "print('ran')"))
    done = subprocess.run([*command[:-1], "1"], capture_output=True, text=True, check=False, env={}, cwd="/")
    assert (done.returncode, done.stdout) == (1, "")
    assert "has ended" in done.stderr


@pytest.mark.parametrize(
    ("profile", "missing", "message"),
    [
        ("runner", "seccomp", "the system-call filter is off"),
        ("evaluator", "seccomp", "AF_UNIX sockets can be made"),
        ("runner", "caps", "effective capabilities are left"),
        ("evaluator", "proc", "/proc is visible"),
    ],
)
def test_code_is_not_run_when_a_protection_is_missing(
    profile: Profile, missing: str, message: str, uid: int | None
) -> None:
    with pytest.raises(FailedPrecondition, match="nothing is run in it") as caught:
        run_probes(profile, f"boot+{missing}", uid)
    assert message in str(caught.value)


def test_without_bubblewrap_the_repair_is_said(tmp_path: Path) -> None:
    with pytest.raises(FailedPrecondition, match="apt-get install bubblewrap"):
        find_bwrap(str(tmp_path))
    assert os.access(find_bwrap(), os.X_OK)
