"""A runner killed at any moment of preference learning ends at the same place: nothing is done twice."""

import random
from typing import Any

import pytest

from pilotlight.plan import Phase
from tests.unit.runner.preference.conftest import rows_of

EFFECTS = {
    *("dataset-train", "dataset-heldout", "c1", "c2", "c3"),
    *("trial1", "load-c1", "load-c2", "load-c3", "deploy"),
}


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(30))
def test_killed_at_requests(desk: Any, control: Any, zygote: Any, seed: int) -> None:
    rng = random.Random(1100 + seed)
    for _ in range(200):
        control.kill_at, control.kill_late = control.requests + rng.randint(20, 90), rng.random() < 0.5
        code = zygote.run()
        if control.finished:
            break
        if code == 0:
            control.reply("ok")
    assert control.kills >= 2
    assert control.finished["status"] == "succeeded"
    assert sorted(key.split("/", 1)[1] for key in control.applied) == sorted(EFFECTS)
    ended = [event["phase"] for event in control.of("phase") if event["state"] != "started"]
    assert ended == [phase.value for phase in Phase]
    rows = rows_of(desk)
    assert len(rows) == 12
    assert all(
        row["models"]["c1"]["likelihood"]["preferred"] > row["models"]["c1"]["likelihood"]["other"] for row in rows
    )
