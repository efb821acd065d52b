"""What is found in pairs; what a plan of them costs; and a job that reads its reference model for long."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from pilotlight.errors import AlreadyExists
from runner.calls import Call
from runner.data.pair_profile import profile_pairs
from runner.jobs import check_same
from runner.planning.catalogue import Throughput
from runner.planning.draft import draft_plan
from runner.planning.grid import build_pair_grid, check_values
from runner.planning.timing import pair_job_seconds
from tests.unit.runner.preference.conftest import PAIRS, pair
from tests.unit.runner.test_planning import ONE, TWO, inputs


def written(folder: Path, rows: list[dict[str, Any]]) -> Path:
    path = folder / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_contradictions_duplicates_and_lengths_are_found(tmp_path: Path) -> None:
    first = pair(1)
    swapped = first | {
        "preferred_output": first["non_preferred_output"],
        "non_preferred_output": first["preferred_output"],
    }
    longer = pair(2) | {"preferred_output": [{"role": "assistant", "content": "much " * 50}]}
    chosen = {
        side: {"messages": [*pair(3)["input"]["messages"], *pair(3)[field]]}
        for side, field in (("chosen", "preferred_output"), ("rejected", "non_preferred_output"))
    }
    profile, share = profile_pairs(written(tmp_path, [first, swapped, first, longer, chosen, {"messages": []}]), {})
    found = {finding.code: [line for line, _ in finding.lines] for finding in profile.findings}
    assert found == {"contradiction": [2], "exact_duplicate": [3], "broken_row": [6]}
    assert (profile.rows, profile.usable) == (6, 5)
    assert len({*profile.groups[:3]}) == 1
    assert share == pytest.approx((0 + 1 + 0 + 1 + 0) / 5)


def test_tokens_are_those_of_both_conversations(tmp_path: Path) -> None:
    rows = [pair(1) | {"input": {"messages": [{"role": "user", "content": "x" * 400}]}}]
    profile, _ = profile_pairs(written(tmp_path, rows), {})
    assert profile.total_tokens > 2 * 400 / 4


def test_job_time_by_hand() -> None:
    speed = Throughput(
        train_tokens_per_second=1000, eval_tokens_per_second=4000, generate_tokens_per_second=1, startup_seconds=10
    )
    # 10 s start + 3 x 40,000 at 1,000/s + 4 evaluations of 10,000 at 4,000/s, and for DPO 50,000 once at 4,000/s
    assert pair_job_seconds(speed, 40_000, 3, 10_000, reference=False) == pytest.approx(10 + 120 + 10)
    assert pair_job_seconds(speed, 40_000, 3, 10_000, reference=True) == pytest.approx(10 + 120 + 10 + 12.5)
    faster = speed.model_copy(update={"preference_tokens_per_second": 2000.0})
    assert pair_job_seconds(faster, 40_000, 3, 10_000, reference=False) == pytest.approx(10 + 60 + 10)
    assert pair_job_seconds(None, 1, 1, 1, reference=True) is None


def test_one_base_gets_a_grid_and_several_get_one_setting_each() -> None:
    grid = build_pair_grid([ONE], {}, "DPO", 2).candidates
    assert len({(c.learning_rate, c.beta) for c in grid}) == 3
    assert [(c.base_model, c.beta) for c in build_pair_grid([ONE, TWO], {}, "ORPO", 2).candidates] == [
        (ONE.name, 0.1), (TWO.name, 0.1),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("intent", "problem"),
    [({"betas": [0.5]}, "less than 0.5"), ({"betas": [0.0, 0.1]}, "A beta of 0 "),
     ({"betas": [0.5], "preference_method": "orpo"}, ""), ({"betas": [1.5], "preference_method": "orpo"}, "at most 1")],
)  # fmt: skip
def test_what_the_platform_would_refuse_is_said_before(intent: dict[str, Any], problem: str) -> None:
    found = check_values(intent)
    assert (problem in found) if problem else not found


def test_reading_the_reference_model_is_progress(desk: Any, control: Any) -> None:
    """It takes no steps, but the trainer reports that it goes on; a job that reports nothing is stopped."""
    control.patience = 0.4
    control.stuck = {"c1"}
    control.ticking = {"c1"}
    control.instructions = [f"Run DPO on {PAIRS} using ember-1m with beta 0.1 and 0.2."]
    desk.run()
    control.reply()
    started = time.monotonic()
    control.until = started + 1.5
    desk.run()
    assert control.ask_open().kind == "missing_input"
    assert "made no progress" in control.ask_open().text
    assert time.monotonic() > control.until


def test_plans_of_other_workflows_keep_their_form() -> None:
    plan = json.loads(draft_plan(inputs()).plan.canonical())
    assert "preference" not in plan
    assert "beta" not in plan["candidates"][0]


def test_a_found_job_is_ours_only_with_the_same_loss() -> None:
    """After a lost answer."""
    loss = {"method": "DPO", "dpo": {"beta": 0.1}}
    call = Call("c1", "CreateDpoJob", "POST", "/v1/x", {"dpoJobId": "j"}, {"dataset": "d", "lossConfig": loss})
    found = {"name": "j", "dataset": "d", "lossConfig": loss | {"klBeta": 0.0}}
    check_same(found, call)
    with pytest.raises(AlreadyExists, match="another beta"):
        check_same(found | {"lossConfig": {"method": "DPO", "dpo": {"beta": 0.3}}}, call)
