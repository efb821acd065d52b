"""A runner killed at any moment of preference learning ends at the same place: nothing is done twice."""

import random
from typing import Any

import pytest

from tests.fixtures.runner_kills import ALL_PHASES, arm_requests, drive, ended_phases
from tests.unit.runner.preference.conftest import rows_of

EFFECTS = {
    *("dataset-train", "dataset-heldout", "c1", "c2", "c3"),
    *("trial1", "load-c1", "load-c2", "load-c3", "deploy"),
}


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(30))
def test_killed_at_requests(desk: Any, control: Any, zygote: Any, seed: int) -> None:
    rng = random.Random(1100 + seed)
    drive(control, zygote, arm_requests(control, rng, 20, 90))
    assert control.kills >= 2
    assert control.finished["status"] == "succeeded"
    assert sorted(key.split("/", 1)[1] for key in control.applied) == sorted(EFFECTS)
    assert ended_phases(control) == ALL_PHASES
    rows = rows_of(desk)
    assert len(rows) == 12
    assert all(
        row["models"]["c1"]["likelihood"]["preferred"] > row["models"]["c1"]["likelihood"]["other"] for row in rows
    )
