"""What the tests of the sandbox share."""

import os
from pathlib import Path

import pytest

from runner.sandbox.spec import LaunchSpec, Limits, session_uid


@pytest.fixture
def uid(request: pytest.FixtureRequest) -> int | None:
    """The user ID of this test's sandbox, as root; None as anybody else."""
    return session_uid(request.node.nodeid, 210_000) if os.getuid() == 0 else None


@pytest.fixture
def spec(tmp_path: Path, uid: int | None) -> LaunchSpec:
    """A runner with empty folders; `timeit` runs the lines of code that are its arguments."""
    (tmp_path / "work").mkdir()
    (tmp_path / "socket").mkdir()
    return LaunchSpec(
        session="test", workspace=tmp_path / "work", socket_directory=tmp_path / "socket", uid=uid, limits=Limits()
    )
