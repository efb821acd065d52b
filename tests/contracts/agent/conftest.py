from collections.abc import Iterator

import pytest

from tests.fixtures.control import ControlServer
from tests.fixtures.databases import Databases


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory, module_databases: Databases) -> Iterator[ControlServer]:
    """One server per module: sessions do not disturb each other. The path is short, for the sake of sockets."""
    home = tmp_path_factory.mktemp("c")
    server = ControlServer(home, database_url=module_databases.url(home / "control.db")).start()
    yield server
    server.stop()


@pytest.fixture
def fresh(tmp_path_factory: pytest.TempPathFactory, databases: Databases) -> Iterator[ControlServer]:
    """A server of the test's own, to be stopped and started."""
    home = tmp_path_factory.mktemp("f")
    server = ControlServer(home, database_url=databases.url(home / "control.db")).start()
    yield server
    server.stop()
