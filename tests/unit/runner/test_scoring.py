"""Metrics, intervals and the choice of the winner."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotlight.plan import Candidate
from runner.jobs import JobResult
from runner.scoring.intervals import bootstrap, interval_of, wilson
from runner.scoring.metrics import choose_metrics, exact_match, final_number, json_equal, token_f1
from runner.scoring.winner import choose_winner


def test_metrics_by_hand() -> None:
    assert exact_match(" a  b\n", "a b") == 1
    assert exact_match("a b", "ab") == 0
    assert token_f1("the cat sat", "the cat") == pytest.approx(0.8)
    assert token_f1("", "") == 1
    assert token_f1("", "a") == 0
    assert json_equal('{"b": 1, "a": [1, 2]}', '{"a":[1,2],"b":1}') == 1
    assert json_equal('{"a": true}', '{"a": 1}') == 0
    assert json_equal("not json", '{"a": 1}') == 0
    assert final_number("so it is\n#### 1,250", "#### 1250") == 1
    assert final_number("#### 3 then #### 4", "#### 4.0") == 1
    assert final_number("72", "#### 72") == 0


@given(st.text(), st.text())
def test_metrics_are_bounded_and_f1_is_symmetric(left: str, right: str) -> None:
    for metric in (exact_match, token_f1, json_equal, final_number):
        assert 0 <= metric(left, right) <= 1
    assert token_f1(left, right) == pytest.approx(token_f1(right, left))
    assert exact_match(left, left) == token_f1(left, left) == 1


def test_metrics_follow_the_kind_of_answers() -> None:
    assert list(choose_metrics(['{"a": 1}'] * 9 + ["?"])) == ["JSON equality", "exact match", "token F1"]
    assert list(choose_metrics(["steps\n#### 7"] * 5)) == ["final number", "exact match", "token F1"]
    assert list(choose_metrics(["refund", "login", "7"])) == ["exact match", "token F1"]


def test_wilson_against_published_values() -> None:
    # Newcombe 1998, table I: 81/263 and 0/20
    found = wilson(81, 263)
    assert (round(found.low, 4), round(found.high, 4)) == (0.2553, 0.3662)
    found = wilson(0, 20)
    assert (found.low, round(found.high, 4)) == (0, 0.1611)


def test_bootstrap_covers_the_mean_about_as_often_as_it_says() -> None:
    rng = random.Random(7)
    hits = 0
    for trial in range(100):
        sample = [rng.betavariate(2, 5) for _ in range(60)]
        found = bootstrap(sample, seed=trial)
        hits += found.low <= 2 / 7 <= found.high
    assert 87 <= hits <= 100
    assert bootstrap([0.5] * 10) == (0.5, 0.5, 0.5)
    assert interval_of([1.0, 0.0, 1.0, 1.0]) == wilson(3, 4)


def result(label: str, loss: float | None, base: float | None = 4.0, state: str = "JOB_STATE_COMPLETED") -> JobResult:
    return JobResult(label, f"jobs/{label}", state, "", 1.0, loss, base, 100, 10.0, f"models/{label}")


CANDIDATES = [
    Candidate(id=f"c{n}", base_model="accounts/fireworks/models/m", lora_rank=rank, learning_rate=1e-4, epochs=1)
    for n, rank in enumerate((8, 16, 32), 1)
]


@pytest.mark.parametrize(
    ("losses", "winner", "beats"),
    [
        ((0.9, 0.5, 0.7), "c2", True),
        ((0.5, 0.499, 0.497), "c1", True),  # a tie goes to the smaller adapter
        ((0.52, 0.5, 0.499), "c2", True),
        ((5.0, 4.5, 6.0), "c2", False),
    ],
)
def test_winner(losses: tuple[float, ...], winner: str, beats: bool) -> None:
    verdict = choose_winner([result(f"c{n}", loss) for n, loss in enumerate(losses, 1)], CANDIDATES)
    assert verdict is not None
    assert (verdict.winner, verdict.beats_base) == (winner, beats)


def test_failed_candidates_cannot_win_and_an_unknown_base_is_unknown() -> None:
    failed = result("c1", 0.1, None, "JOB_STATE_FAILED")
    verdict = choose_winner([failed, result("c2", 0.5, None)], CANDIDATES)
    assert verdict is not None
    assert (verdict.winner, verdict.beats_base) == ("c2", None)
    assert choose_winner([failed], CANDIDATES) is None
