"""A workspace store that takes its time: the next turn begins while the one before it still sweeps up."""

import logging
import time
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from tests.fixtures.control import ControlServer


class SlowListing(MemoryFileSystem):
    """Lists as an object store far away does."""

    protocol = "slowlisting"

    def find(self, path: str, *arguments: Any, **options: Any) -> Any:
        """What it is asked for, late."""
        time.sleep(1.5)
        return super().find(path, *arguments, **options)


def test_a_turn_begins_while_its_predecessor_sweeps(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fsspec.register_implementation("slowlisting", SlowListing, clobber=True)
    control = ControlServer(tmp_path / "home", workspace_store="slowlisting://turns").start()
    try:
        with caplog.at_level(logging.ERROR):
            session = control.create("ask q1; ask q2; ask q3; finish succeeded")
            for words in ("one", "two", "three"):
                control.settle(session, "waiting")
                control.update(session, instruction=words)
            control.settle(session, "succeeded")
    finally:
        control.stop()
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []
