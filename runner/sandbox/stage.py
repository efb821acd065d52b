"""The step between the control process and bwrap: drop root, apply limits, hand over the filter, exec.

bwrap started as root keeps capabilities, so root drops to a user ID of the session's own first. That user may not
reach our folders by path (a home of mode 0700), so root first binds them to neutral names in a mount namespace of its
own, which ends with the process: the host's mount table is never touched. Without root the caller's user ID is kept.
"""

import ctypes
import os
import resource
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

from runner.sandbox.bwrap import Bind, build_command, list_binds
from runner.sandbox.kernel import LIBC, PR_SET_NO_NEW_PRIVS, PR_SET_PDEATHSIG, call, drop_bounding
from runner.sandbox.seccomp import compile_filter
from runner.sandbox.spec import LaunchSpec, read_spec

_CLONE_NEWNS = 0x20000
_MS_BIND, _MS_REC, _MS_PRIVATE, _MS_NOSUID_NODEV = 0x1000, 0x4000, 0x40000, 0x6
_STAGES = ("/mnt", "/media", "/srv")


class Start(NamedTuple):
    """What bubblewrap is started with."""

    command: list[str]
    environment: dict[str, str]
    rlimits: dict[int, int]


def main() -> None:
    """Read a LaunchSpec (JSON), the path of bwrap and the launcher's process ID, and become the sandbox."""
    spec, bwrap = read_spec(sys.argv[1]), sys.argv[2]
    binds = drop_root(list_binds(spec), spec.uid)
    bind_life(int(sys.argv[3]))
    execute(build_start(bwrap, binds, spec))


def build_start(bwrap: str, binds: list[Bind], spec: LaunchSpec, payload: Sequence[str] = ()) -> Start:
    """Everything that the profile asks for; the filter waits on an open descriptor that the command names.

    `payload` runs in it instead of the specification's module.
    """
    descriptor = _open_filter(compile_filter(unix_sockets=spec.profile == "runner"))
    command = build_command(bwrap, binds, spec, descriptor, payload)
    return Start(command, {}, list_rlimits(spec))


def drop_root(binds: list[Bind], uid: int | None) -> list[Bind]:
    """Give root up, if this is root; the binds as the new user can reach them. Exits when there is no user to be."""
    if os.getuid() != 0:
        return binds
    if not uid:
        sys.exit("Refusing to start bubblewrap as root: no user ID to drop to was given.")
    staged = _stage(binds)
    _drop(uid)
    return staged


def bind_life(parent: int) -> None:
    """End with the launcher, from now on and not only once bubblewrap has started. Exits when it has ended already."""
    call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit("Whoever started this sandbox has ended.")


def execute(start: Start) -> NoReturn:
    """Apply the limits and become bubblewrap."""
    limit(start.rlimits)
    call("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    os.chdir("/")
    os.execve(start.command[0], start.command, start.environment)


def _stage(binds: list[Bind]) -> list[Bind]:
    call("unshare", _CLONE_NEWNS)
    _mount(None, "/", None, _MS_REC | _MS_PRIVATE)
    sources = [os.open(bind.source, os.O_PATH | os.O_DIRECTORY) for bind in binds]
    stage = next((path for path in _STAGES if Path(path).is_dir()), "")
    if not stage:
        sys.exit(f"No folder to stage the sandbox on: one of {', '.join(_STAGES)} must exist.")
    _mount("tmpfs", stage, "tmpfs", _MS_NOSUID_NODEV, "size=64k,mode=0755")
    staged: list[Bind] = []
    for index, (bind, source) in enumerate(zip(binds, sources, strict=True)):
        point = Path(stage, str(index))
        point.mkdir()
        _mount(f"/proc/self/fd/{source}", str(point), None, _MS_BIND)
        os.close(source)
        staged.append(bind._replace(source=point))
    return staged


def _drop(uid: int) -> None:
    drop_bounding()
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def list_rlimits(spec: LaunchSpec) -> dict[int, int]:
    """The limits of each process, by their number."""
    limits = spec.limits
    wanted = {
        resource.RLIMIT_AS: limits.address_space_bytes,
        resource.RLIMIT_CPU: limits.cpu_seconds,
        resource.RLIMIT_NOFILE: limits.open_files,
        resource.RLIMIT_FSIZE: limits.file_bytes,
        resource.RLIMIT_CORE: 0,
    }
    if spec.uid:
        wanted[resource.RLIMIT_NPROC] = limits.processes
    return wanted


def limit(rlimits: dict[int, int]) -> None:
    """Lower the limits of this process; one that is lower already stays."""
    for name, value in rlimits.items():
        hard = resource.getrlimit(name)[1]
        bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(name, (bound, bound))


def _open_filter(program: bytes) -> int:
    reader, writer = os.pipe()
    os.write(writer, program)
    os.close(writer)
    os.set_inheritable(reader, True)
    return reader


def _mount(source: str | None, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    parts = [None if part is None else part.encode() for part in (source, target, kind)]
    options = None if data is None else data.encode()
    if LIBC.mount(parts[0], parts[1], parts[2], ctypes.c_ulong(flags), options) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"mount {source} on {target}: {os.strerror(number)}")


if __name__ == "__main__":
    main()
