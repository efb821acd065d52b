"""What the campaign has found, each with the crash that shows it."""

from pathlib import Path

import pytest

from tests.crashes.campaign import Options, run
from tests.crashes.case import load_case
from tests.crashes.checker import check


@pytest.mark.timeout(1200)
def test_what_was_found_stays_repaired(tmp_path: Path) -> None:
    """A LoRA that was never loaded: its platform died between the row and the wish for a replica. And a second trainer:
    its platform died after starting the first one, before writing that down."""
    points = {"platform": ["platform.load.committed:1", "platform.trainer.started:1"]}
    evidence = run(Options(7, points=points, sessions=2, at_once=2, limit_seconds=240), tmp_path / "world")
    assert check(load_case(evidence)) == []
    assert len(evidence.killed) == 2
