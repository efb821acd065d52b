"""A runner killed at any moment of a classification ends at the same place: nothing is done twice, all rows count."""

import json
import random
from typing import Any

import pytest

from tests.fixtures.runner_kills import ALL_PHASES, arm_requests, drive, ended_phases

EFFECTS = {
    *("dataset-train", "dataset-heldout", "bench1", "c1", "c2", "c3"),
    *("trial", "load-c1", "load-c2", "load-c3", "deploy"),
}


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 30))])
def test_killed_at_requests(desk: Any, control: Any, zygote: Any, seed: int) -> None:
    rng = random.Random(900 + seed)
    drive(control, zygote, arm_requests(control, rng, 20, 90))
    assert control.kills >= 2
    assert control.finished["status"] == "succeeded"
    assert sorted(key.split("/", 1)[1] for key in control.applied) == sorted(EFFECTS)
    assert ended_phases(control) == ALL_PHASES
    lines = (desk.work / "outputs/evaluation_answers.jsonl").read_text().splitlines()
    assert len(lines) == 12
    assert all(json.loads(line)["models"]["c1"]["choice"] == json.loads(line)["labels"] for line in lines)
