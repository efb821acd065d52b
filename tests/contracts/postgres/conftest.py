import secrets
from collections.abc import Callable, Generator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from pilotlight.database import open_engine
from tests.fixtures.control import ControlServer
from tests.fixtures.postgres import PostgresServer, postgres_server


@pytest.fixture(scope="module")
def server() -> Generator[PostgresServer]:
    """A server of the module's own, to be stopped and started."""
    with postgres_server() as server:
        yield server


@pytest.fixture
def database(server: PostgresServer) -> Callable[[str], str]:
    """Makes a database with these options of CREATE DATABASE; its URL."""

    def make(options: str = "") -> str:
        name = f"d{secrets.token_hex(6)}"
        server.run(f"CREATE DATABASE {name} TEMPLATE template0 {options}")
        return server.url(name)

    return make


@pytest.fixture
def open_at() -> Generator[Callable[[str], Engine]]:
    """Opens engines that are closed afterwards."""
    opened: list[Engine] = []

    def open_it(url: str) -> Engine:
        opened.append(open_engine(url))
        return opened[-1]

    yield open_it
    for engine in opened:
        engine.dispose()


@pytest.fixture
def serve(tmp_path_factory: pytest.TempPathFactory) -> Generator[Callable[[str], ControlServer]]:
    """Starts control processes, each with a home of its own unless one is given."""
    started: list[ControlServer] = []

    def start(url: str, home: Path | None = None) -> ControlServer:
        started.append(ControlServer(home or tmp_path_factory.mktemp("g"), database_url=url).start())
        return started[-1]

    yield start
    for control in started:
        control.stop()
