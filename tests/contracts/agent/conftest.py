from collections.abc import Iterator

import pytest

from tests.fixtures.control import ControlServer


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlServer]:
    """One server per module: sessions do not disturb each other. The path is short, for the sake of sockets."""
    server = ControlServer(tmp_path_factory.mktemp("c")).start()
    yield server
    server.stop()


@pytest.fixture
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlServer]:
    """A server of the test's own, to be stopped and started."""
    server = ControlServer(tmp_path_factory.mktemp("f")).start()
    yield server
    server.stop()
