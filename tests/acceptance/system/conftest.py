"""One real instance for all system tests: both servers as processes, the sandbox, and firectl as a process."""

from collections.abc import Iterator

import pytest

from cli.up import Instance, free_port
from tests.fixtures.system import System


@pytest.fixture(scope="session")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    folder = tmp_path_factory.mktemp("system")
    with Instance(folder / "home", free_port(), free_port()) as instance:
        system = System(instance, folder)
        system.make_dataset("tickets", "demo_data", rows=150, seed=7)
        yield system
