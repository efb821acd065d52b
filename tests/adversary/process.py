"""The control process of a campaign: a process of its own, killed with SIGKILL and started again on the same home."""

import os
import subprocess
import sys
import time
from pathlib import Path

import httpx

from tests.adversary.platform import KEY

ACCOUNT = "acct"


class ControlProcess:
    """`python -m tests.adversary.control`, on one home and one port for its whole life."""

    def __init__(self, home: Path, platform_url: str, port: int, sandbox: str) -> None:
        self.home, self.url = home, f"http://127.0.0.1:{port}"
        self.log = home / "control.log"
        self.outages: list[tuple[float, float]] = []
        """When it was away after a kill, in seconds since the epoch."""
        self._away = 0.0
        self._process: subprocess.Popen[bytes] | None = None
        settings = {
            "HOME": str(home),
            "ACCOUNT": ACCOUNT,
            "PORT": str(port),
            "PLATFORM_URL": platform_url,
            "PLATFORM_KEY": KEY,
            "SANDBOX": sandbox,
            "CONCURRENT_TURNS": "12",
        }
        self._environment = {"PATH": os.environ["PATH"]} | {f"PILOTLIGHT_{k}": v for k, v in settings.items()}

    def start(self) -> None:
        """Start, and wait until it answers."""
        self.home.mkdir(parents=True, exist_ok=True)
        root = Path(__file__).resolve().parents[2]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "tests.adversary.control"],
                env=self._environment | {"PYTHONPATH": str(root)}, cwd=root, stdout=log, stderr=log,
            )  # fmt: skip
        deadline = time.monotonic() + 60
        while not self._answers():
            assert self._process.poll() is None, self.log.read_text()[-3000:]
            assert time.monotonic() < deadline, self.log.read_text()[-3000:]
            time.sleep(0.05)
        if self._away:
            self.outages.append((self._away, time.time()))

    def kill(self) -> None:
        """As a power failure would, but for what the kernel still writes."""
        self._away = time.time()
        self._end(kill=True)

    def stop(self) -> None:
        """As SIGTERM would."""
        self._end(kill=False)

    @property
    def key(self) -> str:
        """The admin's key."""
        return (self.home / "admin.key").read_text().strip()

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/healthz", timeout=2).status_code == 200
        except httpx.TransportError:
            return False

    def _end(self, *, kill: bool) -> None:
        if self._process is None:
            return
        (self._process.kill if kill else self._process.terminate)()
        self._process.wait(30)
        self._process = None
