"""A runner killed at any moment of a classification ends at the same place: nothing is done twice, all rows count."""

import json
import random
from typing import Any

import pytest

from pilotlight.plan import Phase

EFFECTS = {
    *("dataset-train", "dataset-heldout", "bench1", "c1", "c2", "c3"),
    *("trial", "load-c1", "load-c2", "load-c3", "deploy"),
}


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 30))])
def test_killed_at_requests(desk: Any, control: Any, zygote: Any, seed: int) -> None:
    rng = random.Random(900 + seed)
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
    lines = (desk.work / "outputs/evaluation_answers.jsonl").read_text().splitlines()
    assert len(lines) == 12
    assert all(json.loads(line)["models"]["c1"]["choice"] == json.loads(line)["labels"] for line in lines)
