"""Both servers as child processes: start in order, wait for health, stop cleanly."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

import click
import httpx

from pilotlight.settings import Settings

_START_SECONDS = 120
_STOP_SECONDS = 20
_STOPS = (signal.SIGINT, signal.SIGTERM)

_MODEL_KEYS = frozenset({"PILOTLIGHT_ANTHROPIC_KEY", "ANTHROPIC_API_KEY"})


class Instance:
    """A platform and a control process over one state folder. A context manager: leaving it stops both."""

    def __init__(self, home: Path, port: int, platform_port: int) -> None:
        self.home, self.port, self.platform_port = home.resolve(), port, platform_port
        self.url = f"http://{Settings().host}:{port}"
        self._children: list[tuple[str, subprocess.Popen[bytes]]] = []
        self._files = ExitStack()

    @property
    def environment(self) -> dict[str, str]:
        """What the servers, and clients of this instance, need in their environment."""
        local = {
            "PILOTLIGHT_HOME": str(self.home),
            "PILOTLIGHT_PORT": str(self.port),
            "PILOTLIGHT_PLATFORM_PORT": str(self.platform_port),
            "OMP_WAIT_POLICY": "passive",
        }
        if Settings().backend == "local":
            local["PILOTLIGHT_PLATFORM_URL"] = f"http://{Settings().host}:{self.platform_port}"
        return os.environ | local

    @property
    def platform_environment(self) -> dict[str, str]:
        """The same for the platform and the trainers that it starts: without the key of the planner's model."""
        return {name: value for name, value in self.environment.items() if name not in _MODEL_KEYS}

    @property
    def key_path(self) -> Path:
        """Where the admin's key is."""
        return self.home / "admin.key"

    def __enter__(self) -> Self:
        self.home.mkdir(parents=True, exist_ok=True)
        try:
            if Settings().backend == "local":
                self._start("local_platform.serve", "platform", self.platform_port)
            self._start("agent.serve", "agent", self.port)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def check(self) -> None:
        """Raises ClickException when a server has ended by itself."""
        for name, child in self._children:
            if child.poll() is not None:
                raise click.ClickException(f"The {name} server ended with code {child.returncode}.{self._tail(name)}")

    def stop(self) -> None:
        """Stop both, the agent first; kill what does not end in time. A second Ctrl-C does not leave one behind."""
        with _uninterrupted():
            for _, child in reversed(self._children):
                if child.poll() is None:
                    child.terminate()
                try:
                    child.wait(_STOP_SECONDS)
                except subprocess.TimeoutExpired:
                    child.kill()
                    child.wait()
            self._children.clear()
            self._files.close()

    def _start(self, module: str, name: str, port: int) -> None:
        if _answers(port):
            raise click.ClickException(
                f"Port {port} is in use already. Stop what runs there, or choose another: "
                f"`pilotlight up --{'platform-port' if name == 'platform' else 'port'} N`."
            )
        log = self._files.enter_context((self.home / f"{name}.log").open("ab"))
        command = [sys.executable, "-P", "-m", module]
        environment = self.platform_environment if name == "platform" else self.environment
        child = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
        self._children.append((name, child))
        deadline = time.monotonic() + _START_SECONDS
        while not _answers(port):
            self.check()
            if time.monotonic() > deadline:
                raise click.ClickException(f"The {name} server did not answer in {_START_SECONDS} s.{self._tail(name)}")
            time.sleep(0.1)

    def _tail(self, name: str) -> str:
        path = self.home / f"{name}.log"
        lines = path.read_text(errors="replace").strip().splitlines()[-8:]
        return f" The end of {path}:\n" + "\n".join(lines)


def serve_until_stopped(instance: Instance) -> None:
    """Start, say what to do next, and wait for Ctrl-C or SIGTERM."""
    treat_stop_as_interrupt()
    click.echo("Starting ... (the first start imports PyTorch and measures this machine; give it a moment)")
    try:
        with instance:
            click.echo(f"Pilotlight is up at {instance.url}")
            click.echo(f"Admin key: {instance.key_path} (firectl on this machine finds it by itself)")
            click.echo(f"Logs: {instance.home}/agent.log and platform.log")
            click.echo("In a second terminal:")
            click.echo("  firectl whoami")
            click.echo("  firectl dataset create mydata mydata.jsonl")
            click.echo('  firectl session create -n "Run SFT on ember-1m using accounts/local/datasets/mydata"')
            click.echo("Ctrl-C stops it; sessions go on at the next start.")
            while True:
                time.sleep(1)
                instance.check()
    except KeyboardInterrupt:
        click.echo("Stopped.")


def treat_stop_as_interrupt() -> None:
    """SIGTERM unwinds like Ctrl-C, and only the first of them does: no server is left behind."""
    for number in _STOPS:
        signal.signal(number, _interrupt)


@contextmanager
def _uninterrupted() -> Generator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield  # signals only come to the main thread
        return
    former = {number: signal.signal(number, signal.SIG_IGN) for number in _STOPS}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    for number in _STOPS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://{Settings().host}:{port}/healthz", timeout=2).is_success
    except httpx.TransportError:
        return False


def free_port() -> int:
    """A port of this machine that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
