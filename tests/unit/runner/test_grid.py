"""Grids: the documented one moves rank and learning rate together; the plan says so and offers those that do not."""

from typing import Any

import numpy as np
import pytest

from pilotlight.plan import Candidate
from runner.planning.grid import GRIDS, moves_together

RATES = {1.5e-4, 1e-4, 5e-5}


def candidates(grid: str) -> list[Candidate]:
    pairs = enumerate(GRIDS[grid], 1)
    return [Candidate(id=f"c{n}", base_model="b", lora_rank=r, learning_rate=x, epochs=1) for n, (r, x) in pairs]


@pytest.mark.parametrize(("grid", "count", "apart"), [("usual", 3, False), ("separated", 5, True), ("full", 9, True)])
def test_main_effects_can_be_told_apart_or_not(grid: str, count: int, apart: bool) -> None:
    """By the rank of the design matrix: a constant, two contrasts for the ranks, two for the learning rates."""
    pairs = list(dict.fromkeys(GRIDS[grid]))
    ranks, rates = sorted({rank for rank, _ in pairs}), sorted({rate for _, rate in pairs})
    rows = [[1, *(r == one for one in ranks[1:]), *(x == one for one in rates[1:])] for r, x in pairs]
    assert (len(pairs), set(rates)) == (count, RATES)
    assert bool(np.linalg.matrix_rank(np.array(rows, dtype=float)) == 5) is apart
    assert moves_together(candidates(grid)) is not apart


def told(control: Any, name: str) -> Any:
    return next(value for value in list(control.plans.values())[-1].values if value.name == name)


def test_the_plan_says_so_and_offers_grids_that_separate_them(desk: Any, control: Any) -> None:
    desk.run()
    plan = next(iter(control.plans.values()))
    assert told(control, "grid").value == "rank and learning rate move together"
    words = [offer.words for offer in plan.offers]
    assert words == ["separate rank and learning rate", "use the full grid", "prune weak candidates"]
    assert plan.cost.total() < plan.offers[0].expected < plan.offers[1].expected
    chosen = plan.offers[0]
    (field,) = control.ask_open().fields
    assert [option.value for option in field.options] == words
    control.reply(decision="revise")
    control.answers["q1-plan"].values = {field.name: chosen.words}
    desk.run()
    new = list(control.plans.values())[-1]
    assert [(c.lora_rank, c.learning_rate) for c in new.candidates] == list(GRIDS["separated"])
    assert (new.cost.total(), new.cost.total("high")) == (chosen.expected, chosen.high)
    assert (told(control, "grid").value, told(control, "grid").source) == ("rank and learning rate vary apart", "set")
    assert [offer.words for offer in new.offers] == ["prune weak candidates"]


def test_an_offer_that_the_budget_does_not_allow_is_not_made(desk: Any, control: Any) -> None:
    desk.run()
    plan = next(iter(control.plans.values()))
    between = (plan.offers[0].high + plan.offers[1].high) / 2
    control.reply(decision="revise", text="a budget", budget_usd=float(between))
    desk.run()
    new = list(control.plans.values())[-1]
    assert [offer.words for offer in new.offers] == ["separate rank and learning rate", "prune weak candidates"]


def test_listed_values_take_the_place_of_a_grid_and_back(desk: Any, control: Any) -> None:
    control.instructions[0] += " Use the full grid."
    desk.run()
    assert len(list(control.plans.values())[-1].candidates) == 9
    control.reply(decision="revise", text="ranks 4 and 8", lora_ranks=[4, 8])
    desk.run()
    assert [c.lora_rank for c in list(control.plans.values())[-1].candidates] == [4, 8]
    control.reply(decision="revise", text="Separate them", grid="separated")
    desk.run()
    assert len(list(control.plans.values())[-1].candidates) == 5
