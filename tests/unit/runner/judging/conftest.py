"""A turn whose models are scripted; see tests/fixtures/judge_models.py."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.turn import Turn
from tests.fixtures.judge_models import Models, judging_control
from tests.fixtures.planner_desk import open_desk


@pytest.fixture
def models() -> Models:
    return Models()


@pytest.fixture
def turn(models: Models, tmp_path: Path) -> Iterator[Turn]:
    with open_desk(judging_control(), tmp_path, models.app()) as desk:
        turn = desk.turn()
        yield turn
        turn.client.close()
