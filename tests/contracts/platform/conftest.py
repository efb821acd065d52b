"""A real local platform in a process of its own, on a free port, with its own state: what the SDK speaks to."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
from fireworks import Fireworks


class PlatformServer(NamedTuple):
    """Where the platform is, and the admin's key for it."""

    base_url: str
    account: str
    key: str
    home: Path

    def client(self, key: str | None = None, retries: int = 0) -> Fireworks:
        """The official SDK, pointed here."""
        return Fireworks(
            api_key=key or self.key, account_id=self.account, base_url=self.base_url, max_retries=retries, timeout=60
        )

    def http(self) -> httpx.Client:
        """Plain HTTP with the admin's key."""
        headers = {"Authorization": f"Bearer {self.key}"}
        return httpx.Client(base_url=self.base_url, headers=headers, timeout=60)


@pytest.fixture(scope="session")
def platform_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlatformServer]:
    home = tmp_path_factory.mktemp("platform-home")
    port = find_free_port()
    environment = {
        **os.environ,
        "PILOTLIGHT_HOME": str(home),
        "PILOTLIGHT_ACCOUNT": "acme",
        "PILOTLIGHT_PLATFORM_PORT": str(port),
        "PILOTLIGHT_PLATFORM_CALIBRATE": "false",
        "PILOTLIGHT_PLATFORM_MINIMUM_TO_ZERO_SECONDS": "1",
        "OMP_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "passive",
    }
    log = (home / "platform.log").open("wb")
    process = subprocess.Popen([sys.executable, "-m", "local_platform.serve"], env=environment, stdout=log, stderr=log)
    try:
        base_url = f"http://127.0.0.1:{port}"
        wait_until_healthy(process, base_url, home / "platform.log")
        key = (home / "platform" / "admin.key").read_text()
        yield PlatformServer(base_url, "acme", key, home)
    finally:
        process.terminate()
        process.wait(20)
        log.close()


@pytest.fixture
def sdk(platform_server: PlatformServer) -> Iterator[Fireworks]:
    with platform_server.client() as client:
        yield client


def find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until_healthy(process: subprocess.Popen[bytes], base_url: str, log: Path) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"The platform ended with {process.returncode}:\n{log.read_text()[-3000:]}")
        try:
            if httpx.get(f"{base_url}/healthz", timeout=2).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise TimeoutError(f"The platform did not answer:\n{log.read_text()[-3000:]}")


@pytest.fixture(scope="session")
def tiny_base(platform_server: PlatformServer, tiny_checkpoint: Path) -> str:
    """A random-initialised base model in the catalogue: trains and answers in seconds."""
    return import_base(platform_server, tiny_checkpoint, "tiny-base")


@pytest.fixture(scope="session")
def chat_dataset(platform_server: PlatformServer) -> str:
    """A READY dataset of 24 short chats."""
    return upload_chats(platform_server, "chats", 24)


def import_base(server: PlatformServer, checkpoint: Path, model_id: str) -> str:
    body = {"source": str(checkpoint), "modelId": model_id, "loraAlphaRatio": 16, "defaultBatchTokens": 256}
    with server.http() as http:
        answer = http.post("/v1/accounts/fireworks/models:import", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()["name"]


def upload_chats(server: PlatformServer, dataset_id: str, rows: int) -> str:
    lines = [
        {"messages": [{"role": "user", "content": f"hello {n}"}, {"role": "assistant", "content": f"world {n % 5}"}]}
        for n in range(rows)
    ]
    with server.client() as client:
        client.datasets.create(dataset_id=dataset_id, dataset={"userUploaded": {}})  # pyright: ignore[reportArgumentType]
        client.datasets.upload(dataset_id, file="\n".join(json.dumps(line) for line in lines).encode())
        return client.datasets.get(dataset_id).name or ""
