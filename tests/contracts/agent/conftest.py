from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.control import ControlServer


@pytest.fixture
def control(tmp_path: Path) -> Iterator[ControlServer]:
    server = ControlServer(tmp_path / "home").start()
    yield server
    server.stop()
