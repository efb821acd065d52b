"""The control process's end: start the zygote, ask it for runners, start it again when it has died."""

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from weakref import WeakSet

from pilotlight.errors import FailedPrecondition, Unavailable
from runner.sandbox.bwrap import APP, Bind, list_binds, list_code, list_paths, list_variables
from runner.sandbox.child import ForkedProcess
from runner.sandbox.launch import prepare_host
from runner.sandbox.pipes import Pipe
from runner.sandbox.spec import LaunchSpec, write_spec
from runner.sandbox.watchdog import start_guard

_BOOT = (
    "import json, os, socket, sys\n"
    "from importlib import import_module\n"
    # an event loop may leave its own of /dev/null open in what it starts
    "os.dup2(int(sys.argv[1]), 3, inheritable=False)\n"
    "os.closerange(4, os.sysconf('SC_OPEN_MAX'))\n"
    "link = socket.socket(fileno=3)\n"
    "hello = json.loads(link.recv(1 << 18))\n"
    "sys.path.extend(hello['paths'])\n"
    "import_module(hello['main']).main(link, hello)\n"
)
_PATIENCE_SECONDS = 120.0
"""For importing everything on a busy machine."""
ADVICE = "PILOTLIGHT_RUNNER_START=exec starts each runner as a program of its own instead."


@dataclass(frozen=True)
class Seed:
    """What a zygote is made of: the module that serves, the one that warms it up, its interpreter's surroundings."""

    main: str = "runner.sandbox.zygote.process"
    warm: str = "runner.warm"
    flags: Sequence[str] = ("-I", "-B")
    environment: dict[str, str] = field(default_factory=lambda: _surround())
    binds: Sequence[Bind] = field(default_factory=lambda: list_code("runner"))
    more: dict[str, Any] = field(default_factory=dict[str, Any])


def _surround() -> dict[str, str]:
    """The environment inside, with the interpreter's own library where it is outside."""
    variables = list_variables(list_code("runner"))
    outside = {"LD_LIBRARY_PATH": str(Path(sys.base_prefix, "lib"))} if "LD_LIBRARY_PATH" in variables else {}
    return variables | outside


class _Died(Exception):
    """The zygote has ended instead of answering."""


class Zygote:
    """One process that runners are forked from. Use it in one event loop, from the thread that lives longest."""

    def __init__(self, seed: Seed | None = None) -> None:
        self._seed, self._lock = seed or Seed(), asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None
        self._link: socket.socket | None = None
        self._ready: asyncio.Task[None] | None = None
        self._pipes: WeakSet[Pipe] = WeakSet()

    @property
    def pid(self) -> int | None:
        """Of the zygote; None before its first start."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Begin to get ready; returns at once. Whoever asks for a runner meanwhile waits."""
        if self._ready is None:
            self._ready = asyncio.create_task(self._start(), name="zygote")

    async def aclose(self) -> None:
        """End the zygote, and all that it has started."""
        if self._ready:
            self._ready.cancel()
        await self._end()
        for pipe in list(self._pipes):
            pipe.close()

    async def launch(self, spec: LaunchSpec, **more: Any) -> ForkedProcess:
        """Start `spec.module` in a sandbox. A zygote that died is started again, once.

        Raises FailedPrecondition when the host cannot run it, Unavailable when no zygote lives long enough.
        """
        bwrap = prepare_host(spec)
        binds = [(str(bind.source), bind.target, bind.writable) for bind in list_binds(spec)]
        process = await self.fork({"spec": write_spec(spec), "bwrap": bwrap, "binds": binds} | more)
        start_guard(process, spec.limits.memory_bytes)
        return process

    async def fork(self, request: dict[str, Any]) -> ForkedProcess:
        """Ask for one process. Whoever is cancelled meanwhile leaves none behind."""
        asking = asyncio.create_task(self._ask_patiently(request))
        try:
            return await asyncio.shield(asking)
        except asyncio.CancelledError:
            process = await asking
            process.kill()
            await process.wait()
            raise

    async def _ask_patiently(self, request: dict[str, Any]) -> ForkedProcess:
        try:
            return await self._ask(request)
        except _Died:
            await self._end()
        return await self._ask_again(request)

    async def _ask_again(self, request: dict[str, Any]) -> ForkedProcess:
        try:
            return await self._ask(request)
        except _Died as error:
            raise Unavailable(
                "The process that runners are forked from died twice while this runner was started.",
                hint=f"The kernel's log says whether memory ran out. {ADVICE}",
            ) from error

    async def _ask(self, request: dict[str, Any]) -> ForkedProcess:
        self.start()
        assert self._ready
        await asyncio.shield(self._ready)
        pipes = [os.pipe() for _ in range(3)]
        readers, writers = [pipe[0] for pipe in pipes], [pipe[1] for pipe in pipes]
        try:
            async with self._lock:
                reply, descriptors = await self._exchange(request, writers)
        except BaseException:
            for reader in readers:
                os.close(reader)
            raise
        finally:
            for writer in writers:
                os.close(writer)
        return ForkedProcess(reply["pid"], descriptors[0], [self._read_from(reader) for reader in readers])

    def _read_from(self, descriptor: int) -> asyncio.StreamReader:
        pipe = Pipe(descriptor)
        self._pipes.add(pipe)
        return pipe.reader

    async def _start(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(_PATIENCE_SECONDS)
        with theirs:
            self._process = await asyncio.create_subprocess_exec(
                *(_interpreter(), *self._seed.flags, "-c", _BOOT, str(theirs.fileno())),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=self._seed.environment,
                cwd="/",
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        self._link = ours
        reply, _ = await self._exchange(self._hello(), [])
        if "error" in reply:
            raise FailedPrecondition(
                f"The process that runners are forked from did not start: {reply['error']}.", hint=ADVICE
            )

    def _hello(self) -> dict[str, Any]:
        seed, root, code = self._seed, str(Path(__file__).resolve().parents[3]), list_code("runner")
        inside = list_paths(code)
        return {
            "main": seed.main,
            "warm": seed.warm,
            "parent": os.getpid(),
            "paths": [root, *(str(bind.source) for bind in code if bind.target in inside)],
            "names": {root: APP} | {str(bind.source): bind.target for bind in seed.binds},
            "inside": inside,
        } | seed.more

    async def _exchange(self, message: dict[str, Any], descriptors: list[int]) -> tuple[dict[str, Any], list[int]]:
        assert self._link
        return await asyncio.to_thread(_exchange, self._link, json.dumps(message).encode(), descriptors)

    async def _end(self) -> None:
        self._ready = None
        if self._process and self._process.returncode is None:
            self._process.kill()
        if self._process:
            await self._process.wait()
        if self._link:
            self._link.close()


def _interpreter() -> str:
    """The one that virtual environments are made from: the sandbox has no other either."""
    return str(Path(sys.base_prefix, "bin", f"python{sys.version_info.major}.{sys.version_info.minor}"))


def _exchange(link: socket.socket, message: bytes, descriptors: list[int]) -> tuple[dict[str, Any], list[int]]:
    try:
        socket.send_fds(link, [message], descriptors)
        reply, received, _, _ = socket.recv_fds(link, 1 << 16, 1)
    except OSError as error:
        raise _Died from error
    for descriptor in received:
        os.set_inheritable(descriptor, False)
    if not reply:
        raise _Died
    return json.loads(reply), received
