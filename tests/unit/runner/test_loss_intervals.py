"""Intervals of validation losses, and what they decide at the promotion."""

import json
from typing import Any

import numpy as np
import pytest

from pilotlight.plan import Candidate
from runner.heldout import RowLosses
from runner.jobs import JobResult
from runner.scoring.losses import loss_difference, loss_interval
from runner.scoring.winner import choose_winner

RNG = np.random.default_rng(5)
TOKENS = RNG.integers(2, 40, 300)
HARD = RNG.normal(2.0, 0.8, 300)
CANDIDATES = [
    Candidate(id=f"c{n}", base_model="b", lora_rank=rank, learning_rate=1e-4, epochs=1)
    for n, rank in enumerate((8, 16, 32), 1)
]


def sums(shift: float, noise: float = 0.05) -> list[float]:
    """Losses of a model that is better by `shift` per token, on rows that are as hard for all."""
    return [float(x) for x in TOKENS * (HARD - shift + RNG.normal(0, noise, 300))]


def test_interval_is_that_of_a_bootstrap_over_rows() -> None:
    values = np.array(sums(0.3))
    found = loss_interval(list(values), list(TOKENS))
    draws = RNG.integers(0, 300, (4000, 300))
    means = values[draws].sum(axis=1) / TOKENS[draws].sum(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    assert found.mean == pytest.approx(values.sum() / TOKENS.sum())
    assert (found.low, found.high) == (pytest.approx(low, abs=0.01), pytest.approx(high, abs=0.01))


def test_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    hits = 0
    for _ in range(400):
        tokens = RNG.integers(2, 40, 80)
        found = loss_interval(list(tokens * (RNG.normal(2.0, 0.8, 80))), list(tokens))
        hits += found.low <= 2.0 <= found.high
    assert 360 <= hits <= 396


def test_pairing_takes_out_what_is_hard_for_all() -> None:
    one, other = sums(0.30), sums(0.25)
    apart = loss_difference(one, other, list(TOKENS))
    assert apart.high < 0
    assert loss_interval(one, list(TOKENS)).high > loss_interval(other, list(TOKENS)).low


@pytest.mark.parametrize(("values", "tokens"), [([], []), ([0.0], [0])])
def test_nothing_to_measure(values: list[float], tokens: list[int]) -> None:
    assert loss_interval(values, tokens) == (0, 0, 0)


def test_a_single_row_tells_no_error() -> None:
    assert loss_interval([3.0], [2]) == (1.5, float("-inf"), float("inf"))


def judge(shifts: list[float], noise: float = 0.05) -> Any:
    base, tokens = sums(0.0, 0.0), [int(count) for count in TOKENS]
    rows = {f"c{n}": RowLosses(tokens, base, sums(shift, noise)) for n, shift in enumerate(shifts, 1)}
    jobs = [
        JobResult(label, "", "JOB_STATE_COMPLETED", "", 1.0, one.loss.mean, one.base_loss.mean, 1, 9.0, "m")
        for label, one in rows.items()
    ]
    return choose_winner(jobs, CANDIDATES, rows)


def test_a_clear_difference_wins() -> None:
    verdict = judge([0.1, 0.2, 0.4])
    assert (verdict.winner, verdict.beats_base, verdict.tied) == ("c3", True, [])


def test_what_chance_explains_is_a_tie_and_goes_to_the_smaller() -> None:
    """The difference is above 1 %, and with so much noise still nothing that these rows can tell."""
    verdict = judge([0.28, 0.30, 0.31], noise=1.5)
    assert (verdict.winner, verdict.tied) == ("c1", ["c1", "c2", "c3"])


def test_nothing_beats_the_base_model() -> None:
    assert judge([0.0, -0.1, -0.2], noise=0.3).beats_base is False
    assert judge([-0.1, -0.2, -0.3]).beats_base is False


def test_the_promotion_shows_intervals_ties_and_a_recommendation(desk: Any, control: Any) -> None:
    tokens, base = [2, 3, 4, 5], [4.0, 9.0, 8.0, 15.0]
    worse = {"c1": [4.1, 9.2, 8.4, 15.1], "c2": [4.0, 9.1, 8.3, 15.3], "c3": [6.0, 12.0, 11.0, 21.0]}
    control.heldout = {label: {"tokens": tokens, "base": base, "tuned": rows} for label, rows in worse.items()}
    means = {label: sum(rows) / 14 for label, rows in worse.items()}
    control.base_loss = 36 / 14

    def loss(job: dict[str, Any]) -> float:
        return means[job["name"].split("41e1-")[1]]

    control.loss = loss
    desk.run()
    control.reply("Approved, proceed.")
    desk.run()
    board = control.ask_open().text
    assert "No candidate beats the base model on the held-out rows by more than chance explains" in board
    assert "I recommend stopping here" in board
    assert "c2, c1 are not told apart" in board or "c1, c2 are not told apart" in board
    row = next(line for line in board.splitlines() if line.startswith("| c3"))
    change = (np.array(worse["c3"]) - base).sum() / 14
    residual = np.array(worse["c3"]) - base - change * np.array(tokens)
    half = 1.959964 * np.sqrt(4 / 3 * (residual**2).sum()) / 14
    assert f"{change:+.3f} ({change - half:+.3f} to {change + half:+.3f})" in row
    lines = (desk.work / "outputs/heldout_losses.jsonl").read_text().splitlines()
    assert json.loads(lines[3])["models"]["c3"] == {"tokens": 5, "base": 15.0, "tuned": 21.0}
