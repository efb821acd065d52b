"""End a sandbox for good, whatever moment of its start it is in.

bubblewrap ties the first process inside to the one outside only when everything is mounted: killed before that, the
outer one would leave a sandbox that nobody watches.
"""

import signal
import time
from contextlib import suppress

import psutil

from runner.sandbox.child import Process

_STILL = (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP, psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
_STOP_SECONDS = 1.0
"""A process in a call that cannot be interrupted is not waited for longer."""


def list_family(pid: int) -> list[psutil.Process]:
    """Everything below process `pid`; empty when it is gone. A number that is used again is not mistaken for it."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def stop_family(pid: int) -> list[psutil.Process]:
    """Everything below process `pid`, stopped so that nothing of it starts anything more; end it afterwards."""
    stopped: list[psutil.Process] = []
    while new := [process for process in list_family(pid) if process not in stopped]:
        for process in new:
            with suppress(psutil.NoSuchProcess):
                process.suspend()
        for process in new:
            _await_stop(process)
        stopped += new
    return stopped


def _await_stop(process: psutil.Process) -> None:
    """A signal takes effect after the call that the process is in: until then a child may still be born."""
    deadline = time.monotonic() + _STOP_SECONDS
    with suppress(psutil.NoSuchProcess):
        while process.status() not in _STILL and time.monotonic() < deadline:
            time.sleep(0.001)


def kill_family(family: list[psutil.Process]) -> None:
    """End those that are left."""
    for process in family:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def kill_sandbox(process: Process) -> None:
    """End the outermost process and everything inside; one that has ended is fine. Wait for `process` afterwards."""
    if process.returncode is not None:
        return
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGSTOP)
        with suppress(psutil.NoSuchProcess):
            _await_stop(psutil.Process(process.pid))
        family = stop_family(process.pid)
        process.kill()
        kill_family(family)
