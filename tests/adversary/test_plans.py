"""The adversary's honest plans are plans that people may approve; the greedy ones are refused, or bounded later."""

from pathlib import Path
from random import Random

import pytest
from pydantic import ValidationError

from pilotlight.plan import Plan
from runner.adversary import plans
from runner.adversary.wire import Wire
from runner.adversary.world import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    context = {"account": "acct", "session": "1779157376-41e1", "epoch": 1}
    return World(Wire(tmp_path / "nothing.sock"), Random(1), context, tmp_path)


def test_an_honest_plan_is_valid(world: World) -> None:
    honest = [plans.job_grant(world, 2), plans.deployment_grant(world), plans.chat_grant(world)]
    assert len(Plan.model_validate(plans.make_plan(world, honest)).grants) == 3


def test_grants_that_share_an_id_are_no_plan(world: World) -> None:
    grant = plans.job_grant(world, 1)
    with pytest.raises(ValidationError, match="share an ID"):
        Plan.model_validate(plans.make_plan(world, [grant, grant]))


def test_most_greedy_plans_are_refused_when_they_are_posted(world: World) -> None:
    refused = 0
    for make in plans.GREEDY:
        try:
            Plan.model_validate(make(world))
        except ValidationError:
            refused += 1
    assert refused >= 4
