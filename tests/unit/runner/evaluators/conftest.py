"""A turn at the desk, closed at the end."""

from collections.abc import Iterator

import pytest

from runner.turn import Turn
from tests.fixtures.planner_desk import Desk


@pytest.fixture
def turn(desk: Desk) -> Iterator[Turn]:
    turn = desk.turn()
    yield turn
    turn.client.close()
