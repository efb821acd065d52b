"""How a process of a campaign has another one born by the nursery, whose socket is in CRASHES_NURSERY."""

import array
import asyncio
import json
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from signal import SIGKILL
from typing import Any

from runner.sandbox.pipes import Pipe

NURSERY = "CRASHES_NURSERY"


def ask(request: Mapping[str, Any], *descriptors: int, nursery: str = "") -> socket.socket:
    """Send a request to the nursery; its answers come on the returned connection."""
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(nursery or os.environ[NURSERY])
    text = json.dumps(dict(request)).encode()
    if descriptors:
        rights = array.array("i", descriptors)
        connection.sendmsg([text], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
    else:
        connection.sendall(text)
    return connection


def read_line(connection: socket.socket) -> dict[str, Any]:
    """One answer; empty when the nursery is gone."""
    line = b""
    while not line.endswith(b"\n"):
        block = connection.recv(1)
        if not block:
            return {}
        line += block
    return json.loads(line)


class Born:
    """A process born by the nursery, with the interface of `asyncio.subprocess.Process` that watchers use."""

    def __init__(self, pid: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self.stdout: asyncio.StreamReader | None = None
        self.stderr: asyncio.StreamReader | None = None
        self._writer = writer
        self._ended = asyncio.ensure_future(self._follow(reader))

    async def wait(self) -> int:
        """The exit code; negative for a signal."""
        return await asyncio.shield(self._ended)

    async def communicate(self) -> tuple[bytes, bytes]:
        """All of its output and errors, when it has ended."""
        assert self.stdout
        assert self.stderr
        output, errors = await asyncio.gather(self.stdout.read(), self.stderr.read())
        await self.wait()
        return output, errors

    def send_signal(self, signal: int) -> None:
        """Raises ProcessLookupError when it has ended."""
        if self.returncode is not None:
            raise ProcessLookupError
        os.kill(self.pid, signal)

    def kill(self) -> None:
        """End it at once; as `send_signal`."""
        self.send_signal(SIGKILL)

    async def _follow(self, reader: asyncio.StreamReader) -> int:
        line = await reader.readline()
        self.returncode = int(json.loads(line)["code"]) if line else -9
        self._writer.close()
        return self.returncode


async def bear_runner(environment: dict[str, str], folder: Path, label: str) -> Born:
    """A runner whose life ends with the process that asked."""
    outputs = [os.pipe(), os.pipe()]
    request = {"role": "runner", "environment": environment, "folder": str(folder), "label": label, "bound": True}
    connection = ask(request, *(write for _, write in outputs))
    for _, write in outputs:
        os.close(write)
    connection.setblocking(False)
    reader, writer = await asyncio.open_unix_connection(sock=connection)
    born = Born(int(json.loads(await reader.readline())["pid"]), reader, writer)
    born.stdout, born.stderr = [Pipe(read).reader for read, _ in outputs]
    return born
