"""How a runner process is started: in the sandbox, or plainly for development on macOS."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Protocol

from agent.sockets import SOCKET_NAME
from agent.turns import Turn
from pilotlight.errors import FailedPrecondition
from pilotlight.settings import Settings
from runner.sandbox.child import Process
from runner.sandbox.launch import launch
from runner.sandbox.spec import EvaluatorLimits, LaunchSpec, Limits
from runner.sandbox.zygote.client import Zygote

RUNNER_MODULE = "runner.main"


class Launcher(Protocol):
    """Starts the process of a turn, with piped standard output and error and no input."""

    async def __call__(self, turn: Turn, workspace: Path, socket_folder: Path) -> Process:
        """Raises PilotlightError or OSError when it cannot."""
        ...

    def start(self) -> None:
        """Get ready in the background; returns at once. For the event loop that will start the turns."""

    async def aclose(self) -> None:
        """Give back what `start` took; runners that are left end."""


def choose_launcher(settings: Settings) -> Launcher:
    """The launcher that the settings ask for.

    Raises FailedPrecondition for `none` with a cloud platform or with a key of the planner's model: what is not
    confined could read the keys of the process beside it.
    """
    if settings.sandbox == "bwrap":
        start = ForkLauncher if settings.runner_start == "fork" else SandboxLauncher
        return start(settings.sandbox_uid_base, sandbox_limits(settings))
    if settings.backend != "local" or settings.anthropic_key.get_secret_value():
        raise FailedPrecondition(
            "sandbox=none is for development with the local platform only, and without a key of a model's provider.",
            hint="Unset PILOTLIGHT_SANDBOX, and run on Linux with bubblewrap.",
        )
    return PlainLauncher([sys.executable, "-P", "-m", RUNNER_MODULE])


def sandbox_limits(settings: Settings) -> Limits:
    """What bounds a runner."""
    return Limits(
        address_space_bytes=settings.sandbox_address_space_bytes,
        memory_bytes=settings.sandbox_memory_bytes,
        cpu_seconds=settings.sandbox_cpu_seconds,
        open_files=settings.sandbox_open_files,
        processes=settings.sandbox_processes,
        file_bytes=settings.sandbox_file_bytes,
        tmpfs_bytes=settings.sandbox_tmpfs_bytes,
    )


def evaluator_limits(settings: Settings) -> EvaluatorLimits:
    """What bounds an evaluator: its own settings, and the runner's where those are tighter than its defaults."""
    runner, default = asdict(sandbox_limits(settings)), asdict(EvaluatorLimits())
    tighter = {name: min(default[name], value) for name, value in runner.items() if name != "memory_bytes"}
    return EvaluatorLimits(
        **tighter,
        memory_bytes=settings.sandbox_evaluator_memory_bytes,
        wall_seconds=settings.sandbox_evaluator_seconds,
        result_bytes=settings.sandbox_evaluator_result_bytes,
    )


class SandboxLauncher(Launcher):
    """bubblewrap; each session has a user ID of its own when the control process runs as root."""

    def __init__(self, uid_base: int, limits: Limits, module: str = RUNNER_MODULE) -> None:
        self._uid_base, self._limits, self._module = uid_base, limits, module

    async def __call__(self, turn: Turn, workspace: Path, socket_folder: Path) -> Process:
        """Start the runner with nothing but its workspace and its socket."""
        return await launch(self._describe(turn, workspace, socket_folder))

    def _describe(self, turn: Turn, workspace: Path, socket_folder: Path) -> LaunchSpec:
        return LaunchSpec(
            session=turn.session,
            workspace=workspace,
            socket_directory=socket_folder,
            module=self._module,
            uid=self._uid_base + turn.slot % 50_000 if os.getuid() == 0 else None,
            limits=self._limits,
        )


class ForkLauncher(SandboxLauncher):
    """The same sandbox, without the time that a runner's imports take."""

    def __init__(self, uid_base: int, limits: Limits, module: str = RUNNER_MODULE) -> None:
        super().__init__(uid_base, limits, module)
        self._zygote = Zygote()

    async def __call__(self, turn: Turn, workspace: Path, socket_folder: Path) -> Process:
        """Fork the runner; it has nothing but its workspace and its socket."""
        return await self._zygote.launch(self._describe(turn, workspace, socket_folder))

    def start(self) -> None:
        """Import what a runner needs, in a process of its own."""
        self._zygote.start()

    async def aclose(self) -> None:
        """End that process and all of its runners."""
        await self._zygote.aclose()


class PlainLauncher(Launcher):
    """A plain child process: no isolation at all."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command

    async def __call__(self, turn: Turn, workspace: Path, socket_folder: Path) -> Process:
        """Start the command in the workspace, with our code importable and no secrets in its environment."""
        root = str(Path(__file__).resolve().parents[1])
        environment = {
            "PATH": os.environ.get("PATH", ""),
            "HOME": str(workspace),
            "PYTHONPATH": root,
            "PILOTLIGHT_SOCKET": str(socket_folder / SOCKET_NAME),
            "PILOTLIGHT_WORKSPACE": str(workspace),
        }
        pipe, null = subprocess.PIPE, subprocess.DEVNULL
        return await asyncio.create_subprocess_exec(
            *self._command, stdin=null, stdout=pipe, stderr=pipe, env=environment, cwd=workspace, start_new_session=True
        )
