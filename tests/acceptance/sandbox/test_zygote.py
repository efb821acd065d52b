"""Runners that are forked: they end as others do, nothing outlives its parent, and what cannot be forked is refused."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from agent.processes import stop_process
from pilotlight.errors import FailedPrecondition, Unavailable
from runner.sandbox.spec import LaunchSpec, write_spec
from runner.sandbox.zygote.client import Seed
from tests.fixtures.sandbox import (
    BARE,
    FAMILY,
    HOG,
    await_nothing_left,
    is_alive,
    open_zygote,
    run_forked,
    run_inside,
    with_code,
)

ROOT = Path(__file__).parents[3]
HIDDEN_HOG = """
import os, time
for n in range(3):
  if os.fork() == 0: os._exit(0)
open('/tmp/hog', 'wb').write(bytes(200 << 20)); time.sleep(60)
"""
SLEEP = "import time; print('up', flush=True); time.sleep(60)"


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import os; os._exit(3)", 3),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM),
        ("print('out')", 0),
    ],
)
def test_its_end_is_reported_as_that_of_a_child(spec: LaunchSpec, code: str, expected: int) -> None:
    exit_code, output, _ = asyncio.run(run_forked(with_code(spec, code)))
    assert exit_code == expected
    assert output.startswith("out\n") == (code == "print('out')")
    await_nothing_left(spec.uid)


def test_what_breaks_in_it_is_on_its_standard_error(spec: LaunchSpec) -> None:
    code, _, complaint = asyncio.run(run_forked(replace(spec, module="no_such_module")))
    assert code == 1
    assert "No module named no_such_module" in complaint


INSIDE = """
import os, sys, signal
print(os.getuid(), os.getcwd(), sorted(os.environ), os.listdir('/work'))
print([name for name in sys.path if not name.startswith(('/opt/', '/usr/')) and name != '.'])
files = [getattr(module, '__file__', None) or '/opt/' for module in list(sys.modules.values())]
print([file for file in files if not file.startswith(('/opt/', '/usr/'))])
import colorsys, pydantic, runner.state
print(pydantic.__file__, runner.state.__file__)
"""


def test_it_finds_itself_where_every_runner_does(spec: LaunchSpec) -> None:
    assert spec.workspace is not None
    (spec.workspace / "mine").touch()
    code, output, complaint = asyncio.run(run_forked(with_code(spec, INSIDE.strip())))
    assert code == 0, complaint
    first, paths, modules, later, *_ = output.splitlines()
    assert first.startswith(f"{spec.uid or os.getuid()} /work ['HOME', 'LANG', ")
    assert first.endswith("['mine']")
    assert (paths, modules) == ("[]", "[]")
    assert later.split()[0].startswith("/opt/")  # which site-packages comes first is the interpreter's business
    assert later.split()[1] == "/opt/app/runner/state.py"


def test_several_have_their_own_workspaces_and_do_not_see_each_other(spec: LaunchSpec, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    code = "import os, time; open('/work/mine', 'w'); time.sleep(0.5)\n"
    code += "print(os.listdir('/work'), sum(name.isdigit() for name in os.listdir('/proc')))"

    async def run_two() -> list[str]:
        async with open_zygote() as zygote:
            specs = [with_code(spec, code), replace(with_code(spec, code), workspace=tmp_path / "other")]
            processes = await asyncio.gather(*(zygote.launch(one) for one in specs))
            return [(await process.communicate())[0].decode().splitlines()[0] for process in processes]

    assert asyncio.run(run_two()) == ["['mine'] 3"] * 2


@pytest.mark.parametrize("run", [run_forked, run_inside])
@pytest.mark.parametrize("code", [HOG, HIDDEN_HOG], ids=["memory", "files"])
def test_one_that_holds_too_much_memory_is_ended_and_the_reason_is_said(
    spec: LaunchSpec, code: str, run: Callable[[LaunchSpec], Coroutine[None, None, tuple[int | None, str, str]]]
) -> None:
    """Also files in memory, where the last process has ended and nobody asked how: such a one shows no mounts."""
    limits = replace(spec.limits, memory_bytes=180 << 20)
    exit_code, _, complaint = asyncio.run(run(with_code(replace(spec, limits=limits), code.strip())))
    assert exit_code == -signal.SIGKILL
    assert "MB of memory, more than 180 MB" in complaint
    await_nothing_left(spec.uid)


@pytest.mark.parametrize("milliseconds", [0, 10, 30, 60, 300])
def test_one_that_is_ended_while_it_starts_leaves_nothing(milliseconds: int, spec: LaunchSpec) -> None:
    async def go() -> None:
        async with open_zygote() as zygote:
            process = await zygote.launch(with_code(spec, SLEEP))
            await asyncio.sleep(milliseconds / 1000)
            await stop_process(process)
            assert process.returncode == -signal.SIGKILL
            with pytest.raises(ProcessLookupError):
                process.send_signal(signal.SIGTERM)

    asyncio.run(go())
    await_nothing_left(spec.uid)


def test_whoever_gives_up_waiting_for_one_leaves_nothing(spec: LaunchSpec) -> None:
    async def go() -> None:
        async with open_zygote() as zygote:
            waiting = asyncio.create_task(zygote.launch(with_code(spec, SLEEP)))
            await asyncio.sleep(0.01)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting

    asyncio.run(go())
    await_nothing_left(spec.uid)


def test_a_zygote_that_was_killed_is_started_again(spec: LaunchSpec) -> None:
    async def go() -> None:
        async with open_zygote() as zygote:
            first = await zygote.launch(with_code(spec, SLEEP))
            assert await first.stdout.readline() == b"up\n"
            before = zygote.pid
            assert before
            os.kill(before, signal.SIGKILL)
            await first.communicate()
            assert first.returncode == -signal.SIGKILL
            second = await zygote.launch(with_code(spec, "print('again')"))
            assert (await second.communicate())[0].startswith(b"again")
            assert zygote.pid != before

    asyncio.run(go())
    await_nothing_left(spec.uid)


def test_a_zygote_that_dies_again_is_an_error_that_says_what_to_do(spec: LaunchSpec) -> None:
    async def go() -> None:
        async with open_zygote(Seed(main="tests.fixtures.seeds", warm="")) as zygote:
            with pytest.raises(Unavailable, match="died twice") as caught:
                await zygote.launch(spec)
            assert "PILOTLIGHT_RUNNER_START=exec" in caught.value.hint

    asyncio.run(go())


@pytest.mark.parametrize(
    ("warm", "environment", "message"),
    [
        ("no_such_module", {}, "ModuleNotFoundError: No module named 'no_such_module'"),
        ("tests.fixtures.seeds", {"LEAVE_A_THREAD": "1"}, "2 threads are running"),
        ("tests.fixtures.seeds", {"LEAVE_A_DESCRIPTOR": "1"}, "descriptors are open"),
    ],
)
def test_what_cannot_be_forked_is_refused(
    spec: LaunchSpec, warm: str, environment: dict[str, str], message: str
) -> None:
    async def go() -> None:
        async with open_zygote(replace(BARE, warm=warm, environment=BARE.environment | environment)) as zygote:
            with pytest.raises(FailedPrecondition, match=message) as caught:
                await zygote.launch(spec)
            assert "PILOTLIGHT_RUNNER_START=exec" in caught.value.hint

    asyncio.run(go())
    await_nothing_left(spec.uid)


SUPERVISOR = """
import asyncio, sys
from runner.sandbox.spec import read_spec
from tests.fixtures.sandbox import open_zygote
async def go():
    async with open_zygote() as zygote:
        process = await zygote.launch(read_spec(sys.argv[1]))
        print(await process.stdout.readline(), flush=True)
        await process.wait()
asyncio.run(go())
"""


def test_when_the_worker_is_killed_nothing_is_left(spec: LaunchSpec) -> None:
    command = [sys.executable, "-c", SUPERVISOR, write_spec(with_code(spec, FAMILY.strip()))]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as supervisor:
        assert supervisor.stdout is not None
        assert "up" in supervisor.stdout.readline()
        below = [process.pid for process in psutil.Process(supervisor.pid).children(recursive=True)]
        assert len(below) >= 10  # zygote, keeper, bubblewrap twice, what waits, and the family
        supervisor.kill()
    end = time.monotonic() + 3
    while left := [pid for pid in below if is_alive(pid)]:
        assert time.monotonic() < end, left
        time.sleep(0.01)
