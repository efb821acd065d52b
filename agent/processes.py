"""A runner process from start to end: its output goes to the session's log, its last words are kept."""

import asyncio
import os
import signal
from contextlib import suppress
from pathlib import Path

from agent.turns import Ending
from runner.sandbox.child import Process
from runner.sandbox.ending import kill_family, list_family

_LOG_LIMIT = 16 << 20
_TAIL_BYTES = 4000
_TAIL_LINES = 15
GRACE_SECONDS = 5.0
"""Between asking a process to stop and ending it."""


async def watch_process(process: Process, log: Path) -> Ending:
    """Drain the output until the process has ended; a cancelled watcher ends the process first."""
    tail = bytearray()
    try:
        with log.open("ab") as file:
            assert process.stdout is not None
            assert process.stderr is not None
            await asyncio.gather(
                _drain(process.stdout, file.fileno(), None), _drain(process.stderr, file.fileno(), tail)
            )
        code = await process.wait()
    finally:
        await stop_process(process)
    lines = bytes(tail).decode(errors="replace").splitlines()
    return Ending(code, "\n".join(lines[-_TAIL_LINES:]))


async def stop_process(process: Process) -> None:
    """Ask the process to stop, then end it; returns when it is gone. A process that has ended is fine."""
    if process.returncode is not None:
        return
    family = list_family(process.pid)
    _send(process, signal.SIGTERM)
    try:
        await asyncio.wait_for(process.wait(), GRACE_SECONDS)
    except TimeoutError:
        _send(process, signal.SIGKILL)
        await process.wait()
    kill_family(family)  # a sandbox that is still being built does not end with bubblewrap


def _send(process: Process, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        if os.getpgid(process.pid) == process.pid:  # a group of its own: its children end with it
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)


async def _drain(stream: asyncio.StreamReader, log: int, tail: bytearray | None) -> None:
    while block := await stream.read(1 << 16):
        if tail is not None:
            tail += block
            del tail[:-_TAIL_BYTES]
        if os.fstat(log).st_size < _LOG_LIMIT:
            os.write(log, block)
