"""A home, a nursery, and the processes of one instance: borne, killed, and borne again on the same home and ports."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx

from cli.up import free_port
from tests.crashes.births import NURSERY, ask, read_line
from tests.fixtures.postgres import PostgresServer

ACCOUNT = "local"
_ROOT = Path(__file__).parents[2]
_START_SECONDS = 300.0
_THREADS = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive", "TOKENIZERS_PARALLELISM": "false"}


@dataclass
class Server:
    """A process that serves on one port for the life of its world."""

    role: str
    port: int
    pid: int = 0
    connection: socket.socket | None = None

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"


@dataclass
class World:
    """One instance. `settings` are PILOTLIGHT_ variables of both servers, without the prefix."""

    folder: Path
    settings: Mapping[str, str] = field(default_factory=dict[str, str])
    control: Server = field(default_factory=lambda: Server("control", free_port()))
    platform: Server = field(default_factory=lambda: Server("platform", free_port()))
    worker: Server = field(default_factory=lambda: Server("worker", 0))
    disk_bytes: int = 0
    """With it, the home is a file system of that size, in a mount namespace of the world's own."""
    database: PostgresServer | None = None
    nursery: "subprocess.Popen[bytes] | None" = None

    @property
    def home(self) -> Path:
        """PILOTLIGHT_HOME of both servers."""
        return self.folder / "home"

    @property
    def inside(self) -> Path:
        """The home, as it is found from outside of the world's namespace."""
        if not self.disk_bytes:
            return self.home
        return Path(f"/proc/{self._inner}/root{self.home}")

    @property
    def clock(self) -> Path:
        """Seconds that the clocks of all processes are off."""
        return self.folder / "offset"

    @property
    def births(self) -> list[dict[str, Any]]:
        """What the nursery wrote down."""
        return [json.loads(line) for line in (self.folder / "births.jsonl").read_text().splitlines()]

    @property
    def key(self) -> str:
        """The admin's key."""
        return (self.inside / "admin.key").read_text().strip()

    @property
    def environment(self) -> dict[str, str]:
        """Of both servers."""
        settings = {
            "HOME": str(self.home),
            "ACCOUNT": ACCOUNT,
            "PORT": str(self.control.port),
            "PLATFORM_PORT": str(self.platform.port),
            "PLATFORM_URL": self.platform.url,
            "PLATFORM_CALIBRATE": "false",
            "PLATFORM_JOBS": "4",
            "SANDBOX": "none",
            "CONCURRENT_TURNS": "12",
            "LOG_LEVEL": "warning",
            **self.settings,
        }
        mine = {"PATH": os.environ["PATH"], "HOME": str(self.home), NURSERY: self._socket}
        return (
            mine | self._clock_settings | _THREADS | {f"PILOTLIGHT_{name}": value for name, value in settings.items()}
        )

    def __enter__(self) -> Self:
        self.home.mkdir(parents=True)
        self.clock.write_text("0")
        command = [sys.executable, "-P", "-m", "tests.crashes.nursery", self._socket, str(self.folder / "births.jsonl")]
        if self.disk_bytes:
            box = ["bwrap", "--dev-bind", "/", "/", "--die-with-parent"]
            command = [*box, "--size", str(self.disk_bytes), "--tmpfs", str(self.home), *command]
        environment = os.environ | _THREADS | {"PYTHONPATH": str(_ROOT)} | self._clock_settings
        with (self.folder / "nursery.log").open("ab") as log:
            self.nursery = subprocess.Popen(command, cwd=_ROOT, env=environment, stdout=log, stderr=log)
        try:
            self._await_nursery()
        except BaseException:
            self.nursery.kill()
            raise
        return self

    def _await_nursery(self) -> None:
        assert self.nursery
        deadline = time.monotonic() + _START_SECONDS
        while not Path(self._socket).exists():
            assert self.nursery.poll() is None, (self.folder / "nursery.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        self._inner = int(self._tell({})["pid"])

    def __exit__(self, *_: object) -> None:
        assert self.nursery
        with suppress(ProcessLookupError):
            os.kill(self._inner, signal.SIGKILL)  # and with it all that it bore
        self.nursery.kill()
        self.nursery.wait()

    def keep(self) -> None:
        """Copy a home that is about to vanish with its namespace to where it is looked for afterwards."""
        if self.disk_bytes:
            shutil.copytree(self.inside, self.home, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.sock"))

    def start(self, server: Server) -> None:
        """Bear it, and wait until it answers."""
        self.bear(server)
        deadline = time.monotonic() + _START_SECONDS
        while not _answers(server):
            assert time.monotonic() < deadline, f"{server.role} does not answer: {self.tail(server)}"
            if self.ended(server):
                self.bear(server)  # at a crash point of its start
            time.sleep(0.02)

    def bear(self, server: Server) -> None:
        """Have it born; returns at once."""
        with (self.folder / f"{server.role}.log").open("ab") as log:
            request = {"role": server.role, "environment": self.environment, "folder": str(self.home)}
            server.connection = ask(request, log.fileno(), log.fileno(), nursery=self._socket)
        server.pid = int(read_line(server.connection)["pid"])

    def kill(self, server: Server) -> None:
        """End it as a power failure would, but for what the kernel still writes."""
        if server.connection is not None:
            self.kill_child(server.role, 0)
            read_line(server.connection)
            server.connection.close()
            server.connection = None

    def ended(self, server: Server) -> bool:
        """Whether it has died by itself."""
        if server.connection is None:
            return True
        server.connection.setblocking(False)
        try:
            gone = bool(server.connection.recv(1, socket.MSG_PEEK)) or True
        except BlockingIOError:
            gone = False
        server.connection.setblocking(True)
        if gone:
            server.connection.close()
            server.connection = None
        return gone

    def arm(self, points: Mapping[str, list[str]]) -> None:
        """Have each process born from now on die at the first of its role's points that none has reached yet."""
        self._tell({"arm": dict(points)})

    def armed(self) -> dict[str, list[str]]:
        """The points that are left, by role."""
        return self._tell({})["armed"]

    def kill_child(self, role: str, pick: int, label: str | None = None) -> int:
        """Kill the `pick`-th living process of a role, counted round, or of a label; its ID, 0 when there is none."""
        request = {"kill": role, "pick": pick, "signal": signal.SIGKILL, "label": label}
        return int(self._tell(request)["pid"])

    def signal(self, server: Server, number: int) -> None:
        """Stop a server, or have it go on."""
        self._tell({"kill": server.role, "pick": 0, "signal": number})

    def count_children(self, role: str, of: int) -> int:
        """How many living processes of a role were asked for by process `of`."""
        return sum(one[0] == role and one[3] == of for one in self._tell({})["living"])

    def labels(self, role: str) -> list[str]:
        """Of its living processes."""
        return [str(one[1]) for one in self._tell({})["living"] if one[0] == role]

    def _tell(self, request: dict[str, Any]) -> dict[str, Any]:
        with ask(request, nursery=self._socket) as connection:
            return read_line(connection)

    def tail(self, server: Server) -> str:
        """The end of its log."""
        return (self.folder / f"{server.role}.log").read_text()[-3000:]

    @property
    def _clock_settings(self) -> dict[str, str]:
        """Read when our code is imported, so the nursery has them too."""
        return {"PILOTLIGHT_CRASH_TESTS": "1", "PILOTLIGHT_CLOCK_OFFSET": str(self.clock)}

    @property
    def _socket(self) -> str:
        return str(self.folder / "nursery.sock")


def _answers(server: Server) -> bool:
    try:
        return httpx.get(f"{server.url}/healthz", timeout=2).status_code == 200
    except httpx.TransportError:
        return False
