"""A command of the operator, run for each notification: its JSON on standard input, no shell, none of our secrets."""

import asyncio
import logging
import os
import shlex
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

from agent.notices.channel import NotDeliveredError
from pilotlight.errors import FailedPrecondition

log = logging.getLogger(__name__)
_SECONDS = 30.0
_MOST_OUTPUT = 4000
_PASSED = ("PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "SYSTEMROOT")


class CommandChannel:
    """Runs the command in `folder`; exit code 0 is delivered."""

    def __init__(self, command: str, folder: Path, seconds: float = _SECONDS) -> None:
        try:
            self._argv = shlex.split(command)
        except ValueError as error:
            raise FailedPrecondition(f"PILOTLIGHT_NOTIFY_COMMAND cannot be split into words: {error}.") from error
        if not self._argv:
            raise FailedPrecondition("PILOTLIGHT_NOTIFY_COMMAND has no words.")
        self._folder, self._seconds = folder, seconds

    async def send(self, notice_id: str, body: bytes) -> None:
        """Run once. Raises NotDeliveredError; a command that takes too long is killed with its children."""
        environment = {name: os.environ[name] for name in _PASSED if name in os.environ}
        # Not a pipe of asyncio: its `wait` would last until the last child in the background has closed it too.
        ours, theirs = os.pipe()
        printed = Printed(ours)
        try:
            process = await asyncio.create_subprocess_exec(
                *self._argv, stdin=subprocess.PIPE, stdout=theirs, stderr=subprocess.STDOUT,
                cwd=self._folder, env=environment | {"PILOTLIGHT_NOTICE_ID": notice_id}, start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            printed.close()
            raise NotDeliveredError(f"{self._argv[0]} could not be started: {error.strerror}") from error
        finally:
            os.close(theirs)
        try:
            code = await self._follow(process, body)
        except TimeoutError as error:
            raise NotDeliveredError(f"{self._argv[0]} took longer than {self._seconds:g} s") from error
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
            output = printed.close()
        if output:
            log.info("%s: %s", self._argv[0], output)
        if code != 0:
            raise NotDeliveredError(f"{self._argv[0]} ended with code {code}")

    async def aclose(self) -> None:
        """Nothing is held."""

    async def _follow(self, process: asyncio.subprocess.Process, body: bytes) -> int:
        assert process.stdin is not None
        async with asyncio.timeout(self._seconds):
            with suppress(BrokenPipeError, ConnectionResetError):  # a command need not read its input
                process.stdin.write(body)
                await process.stdin.drain()
            process.stdin.close()
            return await process.wait()


class Printed:
    """Reads a pipe as it fills, and keeps the beginning."""

    def __init__(self, pipe: int) -> None:
        os.set_blocking(pipe, False)
        self._pipe, self._kept = pipe, bytearray()
        asyncio.get_running_loop().add_reader(pipe, self._read)

    def close(self) -> str:
        """What was printed so far; what is printed later finds nobody."""
        self._read()
        asyncio.get_running_loop().remove_reader(self._pipe)
        os.close(self._pipe)
        return self._kept.decode(errors="replace").strip()

    def _read(self) -> None:
        with suppress(BlockingIOError):
            block = os.read(self._pipe, 1 << 16)
            self._kept += block[: _MOST_OUTPUT - len(self._kept)]
            if not block:  # all have closed it: it would be readable for ever
                asyncio.get_running_loop().remove_reader(self._pipe)
