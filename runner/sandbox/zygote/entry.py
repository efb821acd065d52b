"""The way of a forked process into a room: step by step, and then the same question as after every other start.

The order matters: the room's user namespace last, since the others are joined with the rights outside; the filter after
everything that it refuses.
"""

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from runner.sandbox import boot
from runner.sandbox.bwrap import Bind, list_variables
from runner.sandbox.kernel import (
    PR_SET_NO_NEW_PRIVS,
    PR_SET_PDEATHSIG,
    call,
    drop_bounding,
    drop_capabilities,
    leave_keyring,
    set_filter,
)
from runner.sandbox.seccomp import compile_filter
from runner.sandbox.spec import WORKSPACE_PATH, LaunchSpec
from runner.sandbox.stage import limit, list_rlimits
from runner.sandbox.zygote.room import Room

_MOST_DESCRIPTORS = 1 << 20
UMASK = 0o022


class Entry(NamedTuple):
    """Who walks in, and where."""

    spec: LaunchSpec
    binds: list[Bind]
    room: Room

    @property
    def user(self) -> int:
        """The session's user ID."""
        return self.spec.uid or os.getuid()


class Step(NamedTuple):
    """One protection on the way."""

    name: str
    act: Callable[[Entry], object]


def _alone(act: Callable[..., object], *arguments: object) -> Callable[[Entry], object]:
    """An act that does not ask who enters."""
    return lambda _entry: act(*arguments)


def _join(name: str, entry: Entry) -> None:
    entry.room.join(name)


def _leave_groups(entry: Entry) -> None:
    if entry.spec.uid:  # an ordinary user may not, and keeps its groups in every sandbox
        os.setgroups([])


def _change_identity(entry: Entry) -> None:
    if entry.spec.uid:
        os.setresgid(entry.spec.uid, entry.spec.uid, entry.spec.uid)
        os.setresuid(entry.spec.uid, entry.spec.uid, entry.spec.uid)


def _reset_signals() -> None:
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # as in every Python
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def _set_environment(entry: Entry) -> None:
    os.environ.clear()
    os.environ.update(list_variables(entry.binds))


def _limit(entry: Entry) -> None:
    limit(list_rlimits(entry.spec))
    boot.limit_processes(entry.spec.limits.processes)


def _filter(entry: Entry) -> None:
    set_filter(compile_filter(unix_sockets=entry.spec.profile == "runner"))


STEPS: tuple[Step, ...] = (
    *(Step(name, partial(_join, name)) for name in ("cgroup", "ipc", "uts", "net", "mnt")),
    Step("groups", _leave_groups),
    Step("user", partial(_join, "user")),
    Step("folder", _alone(os.chdir, WORKSPACE_PATH)),
    Step("bounding", _alone(drop_bounding)),
    Step("identity", _change_identity),
    Step("capabilities", _alone(drop_capabilities)),
    Step("session", _alone(os.setsid)),
    Step("keyring", _alone(leave_keyring)),
    Step("signals", _alone(_reset_signals)),
    Step("umask", _alone(os.umask, UMASK)),
    Step("environment", _set_environment),
    Step("limits", _limit),
    Step("descriptors", _alone(os.closerange, 3, _MOST_DESCRIPTORS)),
    Step("life", _alone(call, "prctl", PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)),
    Step("privileges", _alone(call, "prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)),
    Step("filter", _filter),
)


def enter(entry: Entry, steps: Sequence[Step]) -> None:
    """Take each step. Raises OSError at the first that the host refuses."""
    for step in steps:
        try:
            step.act(entry)
        except OSError as error:
            error.add_note(f"step: {step.name}")
            raise


def refuse_gaps(entry: Entry) -> None:
    """Exit unless this process is confined: as boot.py asks, and in the room's own namespaces with nothing brought."""
    if gaps := [*list_gaps(entry), *boot.list_gaps(entry.spec.profile)]:
        sys.exit(f"The sandbox is not closed, so nothing is run in it: {'; '.join(gaps)}. Run `pilotlight doctor`.")


def list_gaps(entry: Entry) -> Iterator[str]:
    """What only a forked process can lack."""
    for name, number in entry.room.numbers.items():
        if _number_of(name) != number:
            yield f"the {name} namespace is not the room's"
    if (*os.getresuid(), *os.getresgid()) != (*[entry.user] * 3, *[entry.spec.uid or os.getgid()] * 3):
        yield "the user or group ID is not the session's"
    if entry.spec.uid and os.getgroups():
        yield "supplementary groups are left"
    if len(descriptors := _list_descriptors()) > 4:
        yield f"descriptors are left: {', '.join(descriptors)}"


def _list_descriptors() -> list[str]:
    """With that of the listing itself; none in a /proc that this process is not in, which the namespaces tell."""
    folder = "/proc/self/fd"
    return os.listdir(folder) if Path(folder).exists() else []  # noqa: PTH208


def _number_of(namespace: str) -> int:
    try:
        return Path("/proc/self/ns", namespace).stat().st_ino
    except FileNotFoundError:  # a /proc of another pid namespace
        return 0
