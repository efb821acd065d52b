"""Memory of a whole sandbox, watched from outside: the kernel bounds it per process, control groups may be absent."""

import asyncio
import logging
import os
from contextlib import suppress
from pathlib import Path

import psutil

from runner.sandbox.bwrap import APP
from runner.sandbox.child import Process
from runner.sandbox.ending import kill_sandbox, list_family
from runner.sandbox.spec import WORKSPACE_PATH

log = logging.getLogger(__name__)

_INTERVAL_SECONDS = 0.5
_INODE_BYTES = 1024
"""Kernel memory of one tmpfs file, rounded up: bubblewrap bounds the bytes of a tmpfs, not its files."""
_GUARDS: set["asyncio.Task[int]"] = set()
_TMPFS = ("/tmp", "/dev/shm", WORKSPACE_PATH)


def start_guard(process: Process, limit: int) -> None:
    """`guard_memory` in the background, until the process has ended."""
    guard = asyncio.create_task(guard_memory(process, limit))
    _GUARDS.add(guard)  # the loop alone would let it be collected
    guard.add_done_callback(_GUARDS.discard)


async def guard_memory(process: Process, limit: int) -> int:
    """End `process`, the outermost of a sandbox, when its sandbox holds more than `limit` bytes.

    Returns when the process has ended: the bytes it was ended for, or 0. The reason is the last line of its standard
    error, too.
    """
    while process.returncode is None:
        used = await asyncio.to_thread(measure_memory, process.pid)
        if used > limit and process.returncode is None:
            _end(process, f"The sandbox was ended: it held {used >> 20} MB of memory, more than {limit >> 20} MB.")
            return used
        with suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), _INTERVAL_SECONDS)
    return 0


def _end(process: Process, reason: str) -> None:
    log.warning("%s Process %d.", reason, process.pid)
    if process.stderr and not process.stderr.at_eof():
        process.stderr.feed_data(f"{reason}\n".encode())
    kill_sandbox(process)


def measure_memory(pid: int) -> int:
    """Bytes held by everything below process `pid`: proportional set sizes, and the tmpfs of its mount namespace."""
    total, below = 0, list_family(pid)
    for process in below:
        with suppress(psutil.NoSuchProcess):
            total += process.memory_full_info().pss
    return total + (_measure_tmpfs(below[-1].pid) if below else 0)


def _measure_tmpfs(pid: int) -> int:
    total = 0
    with suppress(FileNotFoundError, ProcessLookupError):
        for point in _list_tmpfs(Path(f"/proc/{pid}/mountinfo").read_text()):
            state = os.statvfs(f"/proc/{pid}/root{point}")
            total += (state.f_blocks - state.f_bfree) * state.f_frsize
            total += (state.f_files - state.f_ffree) * _INODE_BYTES
    return total


def _list_tmpfs(mountinfo: str) -> list[str]:
    mounts = [line.split() for line in mountinfo.splitlines()]
    if not any(fields[4].startswith(f"{APP}/") for fields in mounts):
        return []  # not built yet: these are the mounts of the host
    own = [fields for fields in mounts if fields[fields.index("-") + 1] == "tmpfs" and fields[3] == "/"]
    return [fields[4] for fields in own if fields[4] in _TMPFS]
