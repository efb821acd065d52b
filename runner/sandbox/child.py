"""A process that another one forked for us, with the interface of asyncio's own."""

import asyncio
import os
import signal
from collections.abc import Sequence
from typing import Protocol


class Process(Protocol):
    """What is needed of a sandboxed process, whoever started it."""

    @property
    def pid(self) -> int:
        """Of the outermost process that belongs to it alone."""
        ...

    @property
    def returncode(self) -> int | None:
        """None while it runs; negative for a signal."""
        ...

    @property
    def stdout(self) -> asyncio.StreamReader | None:
        """Its standard output."""
        ...

    @property
    def stderr(self) -> asyncio.StreamReader | None:
        """Its standard error."""
        ...

    async def wait(self) -> int:
        """Returns its exit code when it has ended."""
        ...

    async def communicate(self) -> tuple[bytes, bytes]:
        """All of its output and errors, when it has ended."""
        ...

    def send_signal(self, signal: int) -> None:
        """Raises ProcessLookupError when it has ended."""
        ...

    def kill(self) -> None:
        """End it at once; as `send_signal`."""
        ...


class ForkedProcess:
    """A keeper and its runner. Signals go to the keeper, by a handle that never means another process."""

    def __init__(self, pid: int, handle: int, streams: Sequence[asyncio.StreamReader]) -> None:
        self.pid, self._handle = pid, handle
        self.stdout, self.stderr, self._report = streams
        self.returncode: int | None = None
        self._sent = signal.SIGKILL
        self._end = asyncio.create_task(self._await_report(), name=f"runner {pid}")

    async def wait(self) -> int:
        """The runner's exit code, negative for a signal: its own, or that by which the keeper was ended."""
        return await asyncio.shield(self._end)

    async def communicate(self) -> tuple[bytes, bytes]:
        """All of its output and errors, when it has ended."""
        output, complaint, _ = await asyncio.gather(self.stdout.read(), self.stderr.read(), self.wait())
        return output, complaint

    def send_signal(self, signal: int) -> None:
        """To the keeper. Raises ProcessLookupError when it has ended."""
        if self.returncode is not None:
            raise ProcessLookupError
        _send(self._handle, signal)
        self._sent = signal

    def kill(self) -> None:
        """End keeper, room and runner."""
        self.send_signal(signal.SIGKILL)

    async def _await_report(self) -> int:
        text = await self._report.read()
        os.close(self._handle)
        self.returncode = int(text) if text else -self._sent
        return self.returncode


def _send(handle: int, number: int) -> None:
    signal.pidfd_send_signal(handle, number)
