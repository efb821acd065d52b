"""One process per runner, outside its room: builds the room, forks the runner, and reports how it ended.

It ends with the zygote, bubblewrap with it, and with bubblewrap the room. It reads nothing that the runner wrote.
"""

import os
import runpy
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn

from runner.sandbox.bwrap import Bind
from runner.sandbox.kernel import PR_SET_PDEATHSIG, call
from runner.sandbox.spec import LaunchSpec
from runner.sandbox.zygote.entry import STEPS, Entry, Step, enter, refuse_gaps
from runner.sandbox.zygote.room import Adapt, Room, RoomError, build_room

Run = Callable[[], None]
"""What a forked process goes on to do."""
ADVICE = "Run `pilotlight doctor`; PILOTLIGHT_RUNNER_START=exec starts each runner as a program of its own instead."


@dataclass(frozen=True)
class Job:
    """A runner to be started, and the descriptors of its output, its errors, and of the report of its end."""

    spec: LaunchSpec
    bwrap: str
    binds: list[Bind]
    output: int
    error: int
    report: int


@dataclass(frozen=True)
class Way:
    """How the room is built and entered; production has one way."""

    steps: Sequence[Step] = STEPS
    check: Callable[[Entry], None] = refuse_gaps
    adapt: Adapt | None = None


def keep(job: Job, way: Way) -> Run:
    """Returns in the runner only, with what it is to run. The keeper itself exits when the runner has ended."""
    try:
        room = build_room(job.spec, job.bwrap, job.binds, job.error, way.adapt)
        join_outside(room)
    except (OSError, RoomError) as error:
        _fail(job, error)
    if (child := os.fork()) == 0:
        return lambda: _run(job, room, way)
    for descriptor in (job.output, job.error):
        os.close(descriptor)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    room.close()
    _report(job, code)


def tie_to(parent: int) -> None:
    """End with the parent. Exits when it has ended already."""
    call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def join_outside(room: Room) -> None:
    """What a child cannot do for itself: it is born into a process namespace. An ordinary user needs rights first."""
    if os.getuid() != 0 and (outer := room.open_outer()) is not None:
        call("setns", outer, 0)
        os.close(outer)
    room.join("pid")


def _run(job: Job, room: Room, way: Way) -> None:
    entry = Entry(job.spec, job.binds, room, job.output, job.error)
    try:
        enter(entry, way.steps)
    except OSError as error:
        os.write(job.error, f"{_explain(error)}\n".encode())
        os._exit(1)
    way.check(entry)
    run_module(job.spec.module, job.spec.arguments)


def run_module(module: str, arguments: list[str]) -> None:
    """As `python -m`, anew where the module is known already."""
    sys.modules.pop(module, None)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _fail(job: Job, error: Exception) -> NoReturn:
    os.write(job.error, f"{_explain(error)}\n".encode())
    _report(job, 1)


def _explain(error: Exception) -> str:
    return f"The runner could not be put into its sandbox: {error}. {ADVICE}"


def _report(job: Job, code: int) -> NoReturn:
    os.write(job.report, str(code).encode())
    os._exit(0)
