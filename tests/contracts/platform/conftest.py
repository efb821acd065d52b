"""One local platform for all contract tests of it: a process on a free port that the official SDK speaks to."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fireworks import Fireworks

from tests.fixtures.platform import PlatformProcess, PlatformServer, import_base, upload_chats


@pytest.fixture(scope="session")
def platform_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlatformServer]:
    process = PlatformProcess(tmp_path_factory.mktemp("platform-home"))
    try:
        yield process.start()
    finally:
        process.stop()


@pytest.fixture
def sdk(platform_server: PlatformServer) -> Iterator[Fireworks]:
    with platform_server.client() as client:
        yield client


@pytest.fixture(scope="session")
def tiny_base(platform_server: PlatformServer, tiny_checkpoint: Path) -> str:
    """A random-initialised base model in the catalogue: trains and answers in seconds."""
    return import_base(platform_server, tiny_checkpoint, "tiny-base")


@pytest.fixture(scope="session")
def chat_dataset(platform_server: PlatformServer) -> str:
    """A READY dataset of 24 short chats."""
    return upload_chats(platform_server, "chats", 24)
