"""End a sandbox for good, whatever moment of its start it is in.

bubblewrap ties the first process inside to the one outside only when everything is mounted: killed before that, the
outer one would leave a sandbox that nobody watches.
"""

import signal
from contextlib import suppress

import psutil

from runner.sandbox.child import Process


def list_family(pid: int) -> list[psutil.Process]:
    """Everything below process `pid`; empty when it is gone. A number that is used again is not mistaken for it."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def kill_family(family: list[psutil.Process]) -> None:
    """End those that are left."""
    for process in family:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def kill_sandbox(process: Process) -> None:
    """End the outer bubblewrap and everything inside; one that has ended is fine. Wait for `process` afterwards."""
    if process.returncode is not None:
        return
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGSTOP)  # so that it starts nothing between the list and the end
        family = list_family(process.pid)
        process.kill()
        kill_family(family)
