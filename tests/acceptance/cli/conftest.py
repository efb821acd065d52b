"""A real control process with a scripted runner, and firectl as a process against it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.command import CommandLine
from tests.fixtures.control import ControlServer


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlServer]:
    server = ControlServer(tmp_path_factory.mktemp("control")).start()
    yield server
    server.stop()


@pytest.fixture
def line(control: ControlServer, tmp_path: Path) -> CommandLine:
    return make_line(control, tmp_path)


def make_line(control: ControlServer, home: Path) -> CommandLine:
    return CommandLine(home, str(control.http.base_url).rstrip("/"), control_key(control))


def control_key(control: ControlServer) -> str:
    return (control.settings.home / "admin.key").read_text().strip()
