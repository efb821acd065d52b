"""Starts a trainer from a spec file and watches its process. The boundary a cluster launcher would implement too.

A process is known by its ID and its start time, so that after a restart of the platform a trainer that still runs is
told from a stranger that got its number.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple, Protocol

import psutil

_PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "CUDA_HOME")


GONE_SECONDS = 10.0
"""How long a killed process may take to leave."""


class ProcessRef(NamedTuple):
    """A process on this machine. `started` is its creation time in seconds since the epoch."""

    pid: int
    started: float


class Launcher(Protocol):
    """Submit a spec, ask whether it lives, ask it to stop."""

    def start(self, spec: Path, threads: int) -> ProcessRef:
        """Start the trainer of `spec`; its output goes to `console.log` beside the spec."""
        ...

    def find(self, spec: Path) -> ProcessRef | None:
        """The trainer of `spec` that runs, whoever started it: a platform may die before it writes down that it did."""
        ...

    def alive(self, process: ProcessRef) -> bool:
        """Whether it still runs."""
        ...

    def exit_code(self, process: ProcessRef) -> int | None:
        """How it ended: negative for a signal; None while it runs or if it was not started by this launcher."""
        ...

    def stop(self, process: ProcessRef) -> None:
        """Ask it to save a checkpoint and exit."""
        ...

    def kill(self, process: ProcessRef) -> None:
        """End it now, with its children."""
        ...


class LocalLauncher:
    """Trainers as subprocesses of this process, each in a session of its own so that signals do not spill over."""

    def __init__(self) -> None:
        self._children: dict[ProcessRef, subprocess.Popen[bytes]] = {}

    def start(self, spec: Path, threads: int) -> ProcessRef:
        """See Launcher. Raises OSError if the process cannot be started."""
        with (spec.parent / "console.log").open("ab") as console:
            child = subprocess.Popen(
                [sys.executable, "-P", *_arguments(spec)],
                cwd=spec.parent,
                env=child_environment(threads),
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
            )
        reference = ProcessRef(child.pid, psutil.Process(child.pid).create_time())
        self._children[reference] = child
        return reference

    def find(self, spec: Path) -> ProcessRef | None:
        """See Launcher."""
        wanted = _arguments(spec)
        for process in psutil.process_iter(["cmdline", "create_time", "status"]):
            found = process.info
            if (found["cmdline"] or [])[-len(wanted) :] == wanted and found["status"] != psutil.STATUS_ZOMBIE:
                return ProcessRef(process.pid, found["create_time"])
        return None

    def alive(self, process: ProcessRef) -> bool:
        """See Launcher."""
        if child := self._children.get(process):
            return child.poll() is None
        return _find(process) is not None

    def exit_code(self, process: ProcessRef) -> int | None:
        """See Launcher."""
        child = self._children.get(process)
        return child.poll() if child else None

    def stop(self, process: ProcessRef) -> None:
        """See Launcher."""
        if self.alive(process):
            os.kill(process.pid, signal.SIGTERM)

    def kill(self, process: ProcessRef) -> None:
        """See Launcher."""
        if self.alive(process):
            os.killpg(process.pid, signal.SIGKILL)
            # Two trainers must never write into one folder: do not return before this one is gone.
            deadline = time.monotonic() + GONE_SECONDS
            while self.alive(process) and time.monotonic() < deadline:
                time.sleep(0.02)


def _arguments(spec: Path) -> list[str]:
    """The end of a trainer's command line: no other process has it."""
    return ["-m", "local_platform.training", str(spec)]


def child_environment(threads: int) -> dict[str, str]:
    """A small environment: no keys of ours, `threads` compute threads that sleep when idle, no hub access."""
    environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return environment | {
        "OMP_NUM_THREADS": str(threads),
        "OMP_WAIT_POLICY": "passive",
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
        "PYTHONUNBUFFERED": "1",
    }


def _find(process: ProcessRef) -> psutil.Process | None:
    try:
        found = psutil.Process(process.pid)
        same = abs(found.create_time() - process.started) < 1.0 and found.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return None
    return found if same else None
