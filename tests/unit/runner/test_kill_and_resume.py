"""A runner killed at any moment and started again with the same workspace ends at the same place, and acts once."""

import itertools
import random
from typing import Any

import pytest

from tests.fixtures.runner_kills import ALL_PHASES, arm_requests, drive, ended_phases

EXPECTED_EFFECTS = {
    "dataset-train",
    "dataset-heldout",
    "c1",
    "c2",
    "c3",
    "eval",
    "load",
    "deploy",
}


def check(control: Any, work: Any) -> None:
    assert control.finished["status"] == "succeeded"
    assert {key.split("/", 1)[1] for key in control.applied} == EXPECTED_EFFECTS
    assert len(control.applied) == len(EXPECTED_EFFECTS)  # nothing was done twice
    assert len(control.jobs) == 3
    assert len(control.deployments) == 2
    assert len(control.loras) == 1
    assert [question.kind for question in control.questions.values()] == ["plan_approval", "promotion"]
    assert ended_phases(control) == ALL_PHASES
    assert "ft-1779157376-41e1-c2" in (work / "final_report.md").read_text()


@pytest.mark.parametrize("seed", range(3))
def test_killed_at_requests(desk: Any, control: Any, zygote: Any, seed: int) -> None:
    rng = random.Random(seed)
    drive(control, zygote, arm_requests(control, rng, 1, 45))
    assert control.kills >= 2
    check(control, desk.work)


@pytest.mark.parametrize("seed", range(2))
def test_killed_at_random_times(desk: Any, control: Any, zygote: Any, seed: int) -> None:
    rng = random.Random(100 + seed)
    tries = itertools.count()
    # ever longer turns: on a machine that is busy enough none of the short ones gets anywhere
    drive(control, zygote, lambda: rng.uniform(0.02, 0.3) * 1.02 ** next(tries))
    assert control.kills >= 2
    check(control, desk.work)


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 30))])
def test_killed_around_an_increase(desk: Any, control: Any, zygote: Any, seed: int) -> None:
    """The question for more is asked once, and only what was stopped is begun anew, whenever the runner dies."""
    rng = random.Random(500 + seed)
    control.limited = {"c2": 1}
    drive(control, zygote, arm_requests(control, rng, 1, 45))
    assert control.finished["status"] == "succeeded"
    assert {key.split("/", 1)[1] for key in control.applied} == EXPECTED_EFFECTS | {"c2-r2"}
    assert len(control.applied) == len(EXPECTED_EFFECTS) + 1
    kinds = [question.kind for question in control.questions.values()]
    assert kinds == ["plan_approval", "spend_increase", "promotion"]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100))
def test_kill_campaign(desk: Any, control: Any, zygote: Any, seed: int) -> None:
    rng = random.Random(1000 + seed)
    drive(control, zygote, arm_requests(control, rng, 1, 60))
    check(control, desk.work)
