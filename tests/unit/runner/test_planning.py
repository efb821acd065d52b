"""Grid, epochs, time, cost, budget and grants: the mathematics of a plan."""

import math
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotlight.clock import parse_rfc3339
from pilotlight.errors import FailedPrecondition
from pilotlight.plan import Phase, Plan
from pilotlight.pricebook import load_prices
from runner.context import EstimateRatio, TurnContext
from runner.data.sides import Sides
from runner.planning import requests
from runner.planning.catalogue import BaseFacts, Throughput, find_base, recommend
from runner.planning.draft import Draft, Inputs, draft_plan
from runner.planning.grid import build_grid, default_epochs
from runner.planning.pricing import fit_band
from runner.planning.recipe import DataSide
from runner.planning.timing import job_seconds, wall_seconds

SPEED = Throughput(
    train_tokens_per_second=1000,
    eval_tokens_per_second=4000,
    generate_tokens_per_second=500,
    startup_seconds=10,
    concurrent_jobs=2,
)
ONE = BaseFacts(
    name="accounts/fireworks/models/ember-1m",
    display_name="Ember 1M",
    parameters=1_000_000,
    context_length=512,
    batch_tokens=576,
    throughput=SPEED,
)
TWO = ONE.model_copy(
    update={"name": "accounts/fireworks/models/ember-500k", "display_name": "Ember 500K", "parameters": 500_000}
)


def side(role: str, rows: int) -> DataSide:
    return DataSide(
        name=f"accounts/local/datasets/ft-1-{role}",
        file=f"{role}.jsonl",
        rows=rows,
        tokens=rows * 50,
        longest_answer_tokens=20,
        mean_prompt_tokens=40,
        mean_answer_tokens=10,
    )


def inputs(rows: int = 800, ratio: EstimateRatio | None = None, budget: str | None = None, **intent: Any) -> Inputs:
    train = side("train", rows)
    sample = train if rows <= 1000 else side("sample", 1000)
    context = TurnContext(
        session="1779157376-41e1",
        account="local",
        turn=1,
        epoch=1,
        instruction="Run SFT",
        public_url="http://localhost",
        prices=load_prices("local"),
        estimate_ratio=ratio,
        budget_usd=Decimal(budget) if budget else None,
    )
    return Inputs(
        context=context,
        intent=intent,
        source="accounts/local/datasets/d",
        content_hash="ab",
        rows=rows + 200,
        findings=[],
        token_method="counted",
        sides=Sides(train, sample, side("heldout", 200)),
        bases=[ONE],
        generation=1,
        so_far=Decimal(0),
        expires=parse_rfc3339("2026-12-01T00:00:00Z"),
    )


@pytest.mark.parametrize(
    ("rows", "epochs"),
    [(1, 5), (499, 5), (500, 5), (501, 5), (625, 4), (834, 3), (1000, 3), (2499, 2), (2500, 1), (9000, 1)],
)
def test_default_epochs(rows: int, epochs: int) -> None:
    assert default_epochs(rows) == epochs == min(5, math.ceil(2500 / rows))


def test_the_documented_grid_times_the_base_models() -> None:
    grid = build_grid([ONE, TWO], None, None, 3, False)
    assert [(c.lora_rank, c.learning_rate) for c in grid.candidates[:3]] == [(8, 1.5e-4), (16, 1e-4), (32, 5e-5)]
    assert [c.id for c in grid.candidates] == ["c1", "c2", "c3", "c4", "c5", "c6"]
    assert {c.base_model for c in grid.candidates[3:]} == {TWO.name}


def test_explicit_lists_are_crossed() -> None:
    grid = build_grid([ONE, TWO], [16, 32], [1e-4, 5e-5], 3, False)
    assert len(grid.candidates) == 8
    assert grid.ranks_set
    assert grid.rates_set
    only_ranks = build_grid([ONE], [8, 4], None, 3, False).candidates
    assert [(c.lora_rank, c.learning_rate) for c in only_ranks] == [(8, 1.5e-4), (4, 1e-4)]
    only_rates = build_grid([ONE], None, [1e-4, 1e-4, 2e-4], 3, False).candidates
    assert [(c.lora_rank, c.learning_rate) for c in only_rates] == [(16, 1e-4), (16, 2e-4)]


def test_without_a_sweep_the_middle_of_the_grid() -> None:
    (candidate,) = build_grid([ONE], None, None, 3, True).candidates
    assert (candidate.lora_rank, candidate.learning_rate) == (16, 1e-4)


def test_job_time_by_hand() -> None:
    # 10 s start + 3 x 40,000 tokens at 1,000/s + 4 evaluations of 10,000 tokens at 4,000/s
    assert job_seconds(SPEED, 40_000, 3, 10_000) == pytest.approx(10 + 120 + 10)
    assert job_seconds(SPEED, 40_000, 1.5, 10_000) == pytest.approx(10 + 60 + 7.5)
    assert job_seconds(None, 1, 1, 1) is None


@given(st.lists(st.floats(0.1, 1000), min_size=1, max_size=20), st.integers(1, 8))
def test_wall_time_is_between_its_bounds(jobs: list[float], places: int) -> None:
    wall = wall_seconds(jobs, places)
    assert max(jobs) <= wall + 1e-6
    assert sum(jobs) / places <= wall + 1e-6
    assert wall <= sum(jobs) + 1e-6


def test_cost_by_hand() -> None:
    plan = draft_plan(inputs()).plan
    # 10 + 4 epochs x 40,000 / 1,000 + 5 x 10,000 / 4,000 = 182.5 s for each of three candidates, two at a time
    sweep = plan.cost.lines[0]
    assert sweep.phase is Phase.SWEEP
    assert sweep.seconds == pytest.approx(365)
    assert sweep.expected == pytest.approx(Decimal(3 * 182.5 / 3600 * 0.20), abs=Decimal("0.00001"))
    deploy = plan.cost.lines[-1]
    assert (deploy.phase, deploy.expected) == (Phase.DEPLOY, Decimal("0.2"))  # the first hour [A111]
    assert plan.cost.total() == sum((line.expected for line in plan.cost.lines), Decimal(0))


def test_tokens_of_the_base_model_scale_time_and_cost() -> None:
    once = draft_plan(inputs())
    twice = draft_plan(replace(inputs(), bases=[ONE.model_copy(update={"token_scale": 2.0})]))
    assert twice.plan.dataset.train_tokens == 2 * once.plan.dataset.train_tokens
    assert twice.plan.cost.lines[0].expected > Decimal("1.8") * once.plan.cost.lines[0].expected


def test_grants_are_what_the_preview_shows_as_the_most() -> None:
    draft = draft_plan(inputs(1500))
    granted = sum((grant.max_cost for grant in draft.plan.grants), Decimal(0))
    assert granted == draft.plan.cost.total("high")
    assert all(low <= expected <= high for low, expected, high in bounds(draft.plan))


def bounds(plan: Plan) -> list[tuple[Decimal, Decimal, Decimal]]:
    return [(line.low, line.expected, line.high) for line in plan.cost.lines]


@pytest.mark.parametrize(
    "intent",
    [{}, {"skip_sweep": True}, {"skip_final_training": True}, {"lora_ranks": [4, 8], "learning_rates": [1e-4]}],
)
@pytest.mark.parametrize("rows", [100, 1500])
def test_grants_cover_every_call_that_is_sent(rows: int, intent: dict[str, Any]) -> None:
    draft = draft_plan(inputs(rows, **intent))
    recipe, grants = draft.recipe, draft.plan.grants
    for candidate in recipe.candidates:
        calls = [requests.evaluation_deployment(recipe, candidate), requests.final_deployment(recipe, candidate)]
        calls += [requests.final_job(recipe, candidate)] if recipe.final else []
        calls += [requests.candidate_job(recipe, candidate)] if recipe.sweep else []
        for call in calls:
            sent = {f"query.{k}": v for k, v in call.query.items()} | {f"body.{k}": v for k, v in call.body.items()}
            assert any(grant.method == call.method and covers(grant.rules, sent) for grant in grants), call
            changed = sent | {"body.maxReplicaCount" if "Deployment" in call.method else "body.epochs": 9}
            assert not any(grant.method == call.method and covers(grant.rules, changed) for grant in grants)


def covers(rules: dict[str, Any], sent: dict[str, Any]) -> bool:
    return set(sent) == set(rules) and all(rules[name].allows(value) for name, value in sent.items())


def test_small_data_needs_no_second_run_and_large_data_does() -> None:
    small, large = draft_plan(inputs(800)), draft_plan(inputs(1500))
    assert not small.recipe.final
    assert "already trained" in small.plan.skipped[Phase.TRAIN]
    assert large.recipe.final
    assert Phase.TRAIN not in large.plan.skipped
    assert large.recipe.final_epochs == 2
    assert large.recipe.candidates[0].epochs == 3


def test_every_value_is_marked() -> None:
    plan = draft_plan(inputs(1500, epochs=2, lora_ranks=[8, 16], max_parallel_jobs=10)).plan
    origins = {value.name: value.source for value in plan.values}
    for name in ("epochs", "lora_ranks", "max_parallel_jobs"):
        assert origins[name] == "set"
    assert origins["learning_rates"] == origins["prompts"] == "default"
    assert origins["lora_scale"] == origins["chat_template"] == "unknown"  # this platform tells neither


def test_unknown_prices_are_never_guessed() -> None:
    unpriced = load_prices("local").model_copy(update={"machine_hour": None})
    given_inputs = inputs()
    context = given_inputs.context.model_copy(update={"prices": unpriced})
    plan = draft_plan(replace(given_inputs, context=context)).plan
    assert len(plan.cost.unknown) == len(plan.cost.lines)
    assert all(grant.max_cost == 0 for grant in plan.grants)


def test_unknown_speed_is_unknown_time() -> None:
    plan = draft_plan(replace(inputs(), bases=[ONE.model_copy(update={"throughput": None})])).plan
    assert plan.cost.wall_seconds is None
    assert plan.cost.unknown


@given(st.decimals("0.06", "1", places=3))
def test_a_budget_is_never_exceeded(budget: Decimal) -> None:
    if budget < Decimal("0.2"):
        budget += Decimal("0.14")
    plan = draft_plan(inputs(1500, budget=str(budget))).plan
    granted = sum((grant.max_cost for grant in plan.grants), Decimal(0))
    assert granted <= budget
    assert plan.cuts or granted == draft_plan(inputs(1500)).plan.cost.total("high")


def test_a_budget_below_the_smallest_plan_is_refused() -> None:
    with pytest.raises(FailedPrecondition, match=r"more than the budget of \$0.01"):
        draft_plan(inputs(1500, budget="0.01"))


def test_cuts_keep_what_the_user_set() -> None:
    plan = draft_plan(inputs(1500, budget="0.2", epochs=3, lora_ranks=[8, 32])).plan
    assert {candidate.lora_rank for candidate in plan.candidates} == {8, 32}
    assert {candidate.epochs for candidate in plan.candidates} == {3}
    assert any("hours" in cut for cut in plan.cuts)


def test_the_band_is_fitted_once_there_is_a_record() -> None:
    assert "default" in fit_band(None).text
    assert "default" in fit_band(EstimateRatio(low=0.5, high=2, runs=2)).text
    band = fit_band(EstimateRatio(low=0.7, high=1.0, runs=12))
    assert (band.low, band.high) == (0.7, 1.5)
    assert "12 earlier runs" in band.text


def test_the_same_inputs_make_the_same_plan() -> None:
    first, second = draft_plan(inputs()), draft_plan(inputs())
    assert isinstance(first, Draft)
    assert first.plan.digest() == second.plan.digest()


def test_base_models_by_any_name() -> None:
    for name in ("ember-1m", "Ember 1M", "EMBER1M", "accounts/fireworks/models/ember-1m"):
        assert find_base(name, [TWO, ONE]) is ONE
    assert find_base("qwen3-32b", [ONE, TWO]) is None
    assert recommend([TWO, ONE], longest=100) is ONE
    roomy = TWO.model_copy(update={"context_length": 4096})
    assert recommend([roomy, ONE], longest=2000) is roomy
