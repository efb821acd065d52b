"""Start a sandboxed process, or refuse and say how to repair the host."""

import asyncio
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from pilotlight.errors import FailedPrecondition
from runner.sandbox.seccomp import MACHINES
from runner.sandbox.spec import LaunchSpec, write_spec
from runner.sandbox.watchdog import start_guard

_STAGE = "import sys; sys.path.insert(0, sys.argv.pop(1)); from {module} import main; main()"


async def launch(spec: LaunchSpec) -> asyncio.subprocess.Process:
    """Start `spec.module` in bubblewrap; standard error is a pipe, standard output too, input is empty.

    A process that exceeds the memory limit is ended, and the reason is the last line of its standard error. Call it
    from a long-lived thread: the sandbox dies with the thread that started it (--die-with-parent).
    Raises FailedPrecondition when a protection is missing on this host; nothing has been run then.
    """
    process = await spawn(spec, stdin=subprocess.DEVNULL)
    start_guard(process, spec.limits.memory_bytes)
    return process


async def spawn(spec: LaunchSpec, *, stdin: int, pass_fds: Sequence[int] = ()) -> asyncio.subprocess.Process:
    """As `launch`, without the guard: for those who watch the process themselves."""
    command, pipe = prepare(spec), subprocess.PIPE
    return await asyncio.create_subprocess_exec(
        *command, stdin=stdin, stdout=pipe, stderr=pipe, env={}, cwd="/", pass_fds=pass_fds
    )


def prepare(spec: LaunchSpec) -> list[str]:
    """Check the host, hand the folders to the session's user ID, and return the command to run."""
    return stage_command("runner.sandbox.stage", spec, prepare_host(spec))


def prepare_host(spec: LaunchSpec) -> str:
    """The path of bwrap, when the host can run `spec`; its folders belong to the session's user ID then."""
    bwrap = find_bwrap()
    if os.getuid() == 0:
        if not spec.uid:
            raise FailedPrecondition("The sandbox was asked for without a user ID to drop to.")
        for folder in spec.folders:
            _give(folder, spec.uid)
    return bwrap


def stage_command(module: str, spec: LaunchSpec, bwrap: str) -> list[str]:
    """Run `main` of a stage module: its arguments are the specification, the path of bwrap and this process's ID."""
    root = Path(__file__).resolve().parents[2]
    code = _STAGE.format(module=module)
    return [sys.executable, "-I", "-B", "-c", code, str(root), write_spec(spec), bwrap, str(os.getpid())]


def find_bwrap(search: str = "/usr/bin:/usr/local/bin:/bin") -> str:
    """The path of bubblewrap. Raises FailedPrecondition with the repair command."""
    if sys.platform != "linux":
        raise FailedPrecondition(
            "The sandbox needs Linux.",
            hint="On macOS set PILOTLIGHT_SANDBOX=none for development; it is refused with a cloud platform.",
        )
    if platform.machine() not in MACHINES:
        raise FailedPrecondition(f"The sandbox has no system-call filter for {platform.machine()}.")
    if not (path := shutil.which("bwrap", path=search)):
        raise FailedPrecondition(
            "bubblewrap is not installed, and nothing is ever run without the sandbox.",
            hint="Install it: `sudo apt-get install bubblewrap` (Debian, Ubuntu) or `sudo dnf install bubblewrap`.",
        )
    return path


def _give(folder: Path, uid: int) -> None:
    os.chown(folder, uid, uid, follow_symlinks=False)
    # By descriptors: a process of an earlier turn may still be swapping folders for links while root walks here.
    for _, folders, files, parent in os.fwalk(folder, follow_symlinks=False):
        for name in (*folders, *files):
            with suppress(FileNotFoundError):
                if os.lstat(name, dir_fd=parent).st_uid != uid:
                    os.chown(name, uid, uid, dir_fd=parent, follow_symlinks=False)
