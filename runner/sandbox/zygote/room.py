"""An empty room: what bubblewrap builds, with a program in it that only waits for the door to close."""

import fcntl
import json
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import NoReturn

from runner.sandbox.bwrap import Bind
from runner.sandbox.kernel import call
from runner.sandbox.spec import LaunchSpec
from runner.sandbox.stage import Start, bind_life, build_start, drop_root, execute

SLEEPER = ("/usr/bin/cat",)
"""Says that the room is complete by an echo, and ends when its input does: with whoever holds the door."""
_NAMESPACES = ("user", "cgroup", "ipc", "uts", "net", "pid", "mnt")
_NS_GET_PARENT = 0xB702
Adapt = Callable[[Start], Start]


class RoomError(Exception):
    """bubblewrap ended before the room was complete; why is on standard error."""


@dataclass(frozen=True)
class Room:
    """A built room: the bubblewrap outside, the first process inside, the door, and the namespaces."""

    process: int
    first: int
    door: int
    namespaces: dict[str, int]
    """Descriptors by name."""
    numbers: dict[str, int]
    """What the kernel calls each, to see whether one is in it."""

    def open_outer(self) -> int | None:
        """The user namespace that owns the others, when it is not that of this process itself; else None."""
        try:
            outer = fcntl.ioctl(self.namespaces["user"], _NS_GET_PARENT)
        except PermissionError:  # the parent is our own, or further out
            return None
        return outer

    def join(self, name: str) -> None:
        """Walk into one namespace of the room. Raises OSError where the host forbids it."""
        call("setns", self.namespaces[name], 0)

    def close(self) -> None:
        """End everything inside and wait until it is gone."""
        os.close(self.door)
        with suppress(ProcessLookupError):
            os.kill(self.first, signal.SIGKILL)
        os.waitpid(self.process, 0)


def build_room(spec: LaunchSpec, bwrap: str, binds: list[Bind], error: int, adapt: Adapt | None = None) -> Room:
    """Have bubblewrap build it; complaints go to descriptor `error`. Raises RoomError when it does not."""
    parent, (inner, door), (echo, outer), (told, tell) = os.getpid(), os.pipe(), os.pipe(), os.pipe()
    process = os.fork()
    if process == 0:
        _become(spec, bwrap, binds, parent, (inner, outer, error, tell), adapt)
    for descriptor in (inner, outer, tell):
        os.close(descriptor)
    os.write(door, b"\n")
    complete = os.read(echo, 1)
    os.close(echo)
    if not complete:
        raise RoomError(f"bubblewrap ended with {os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])}")
    first = int(json.loads(os.read(told, 4096))["child-pid"])
    os.close(told)
    opened = {name: os.open(f"/proc/{first}/ns/{name}", os.O_RDONLY) for name in _NAMESPACES}
    numbers = {name: os.fstat(descriptor).st_ino for name, descriptor in opened.items()}
    return Room(process, first, door, opened, numbers)


def _become(
    spec: LaunchSpec,
    bwrap: str,
    binds: list[Bind],
    parent: int,
    descriptors: tuple[int, int, int, int],
    adapt: Adapt | None,
) -> NoReturn:
    """As runner.sandbox.stage, in a forked child."""
    try:
        for number, descriptor in enumerate(descriptors[:3]):
            os.dup2(descriptor, number)
        os.set_inheritable(descriptors[3], True)
        staged = drop_root(binds, spec.uid)
        bind_life(parent)
        start = build_start(bwrap, staged, spec, SLEEPER)
        start.command[1:1] = ["--info-fd", str(descriptors[3])]
        execute(adapt(start) if adapt else start)
    except BaseException as error:  # noqa: BLE001 - nothing of the parent may go on in here
        os.write(2, f"The room of the sandbox was not built: {error}\n".encode())
    os._exit(1)
