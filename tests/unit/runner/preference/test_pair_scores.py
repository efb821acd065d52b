"""Every score of pairs, recomputed; who wins; when a target is reached."""

import random
import statistics
from typing import Any

import pytest
import sklearn.metrics

from pilotlight.tasks import Goal
from runner.phases.preference.board import reached
from runner.scoring.pairs import Entry, Likelihood, choose_preferred, hits_of, moved, score_base, score_tuned

METRICS: Any = sklearn.metrics
"""Its stubs know less than it does."""


def drawn(seed: int, lead: float, rows: int = 150) -> list[Likelihood]:
    rng = random.Random(seed)
    lengths = [(rng.randint(2, 40), rng.randint(2, 40)) for _ in range(rows)]
    return [Likelihood(a * (rng.gauss(-1, 0.4) + lead), b * rng.gauss(-1, 0.4), a, b) for a, b in lengths]


@pytest.mark.parametrize("seed", range(3))
def test_accuracy_and_margin(seed: int) -> None:
    base, tuned = drawn(seed, 0.0), drawn(seed + 100, 0.3)
    scores = score_tuned(base, tuned)
    right = [1] * len(tuned)
    said = [int(pair.preferred / pair.preferred_tokens > pair.other / pair.other_tokens) for pair in tuned]
    assert scores["accuracy"].mean == pytest.approx(METRICS.accuracy_score(right, said))
    before = [int(pair.preferred / pair.preferred_tokens > pair.other / pair.other_tokens) for pair in base]
    gain = METRICS.accuracy_score(right, said) - METRICS.accuracy_score(right, before)
    assert scores["gain"].mean == pytest.approx(gain)
    margins = [t.preferred - b.preferred - t.other + b.other for b, t in zip(base, tuned, strict=True)]
    assert scores["margin"].mean == pytest.approx(statistics.fmean(margins))
    assert scores["rewardAccuracy"].mean == pytest.approx(
        METRICS.accuracy_score(right, [int(margin > 0) for margin in margins])
    )
    for name in ("accuracy", "gain", "margin", "rewardAccuracy"):
        assert scores[name].low < scores[name].mean < scores[name].high
    assert scores == score_tuned(base, tuned)
    assert score_base(base)["likely"] == pytest.approx(statistics.fmean(b.preferred / b.preferred_tokens for b in base))


def test_a_long_answer_is_not_less_preferred_for_its_length() -> None:
    assert hits_of([Likelihood(-40.0, -3.0, 40, 2)]) == [1.0]
    assert hits_of([Likelihood(-40.0, -1.0, 40, 2)]) == [0.0]


def test_rounding_is_a_tie() -> None:
    assert hits_of([Likelihood(-10.0, -10.0000001, 10, 10)]) == [0.5]
    same = [Likelihood(-10.0, -9.0, 10, 10)]
    assert score_tuned(same, same)["rewardAccuracy"].mean == 0.5
    assert moved(same, same) == [0.0]


def entry(name: str, right: int, likely: float = -1.0, size: float = 1.0, base: str = "b") -> Entry:
    return Entry(name, base, [1.0] * right + [0.0] * (100 - right), likely, size)


def test_the_most_accurate_wins_where_the_difference_is_certain() -> None:
    verdict = choose_preferred([entry("c1", 60), entry("c2", 90, -5.0)], {"b": [0.0] * 100})
    assert (verdict.winner, verdict.beats_base) == ("c2", True)


def test_a_tie_goes_to_the_smaller_base_then_to_the_likelier_answers() -> None:
    verdict = choose_preferred([entry("c1", 89, -2.0), entry("c2", 90, -3.0)], {"b": [0.0] * 100})
    assert verdict.winner == "c1"
    assert verdict.reason.endswith("it finds the preferred answers more likely")
    sized = [entry("c1", 89, -9.0, 1.0), entry("c2", 90, -1.0, 2.0)]
    verdict = choose_preferred(sized, {"b": [0.0] * 100})
    assert verdict.winner == "c1"
    assert verdict.reason.endswith("the smaller base model")


def test_each_is_compared_with_its_own_base_model() -> None:
    entries = [entry("c1", 60, base="small"), entry("c2", 90, base="large")]
    bases = {"small": [0.0] * 100, "large": [1.0] * 89 + [0.0] * 11}
    verdict = choose_preferred(entries, bases)
    assert (verdict.winner, verdict.beats_base) == ("c2", False)


@pytest.mark.parametrize(
    ("op", "value", "met"),
    [(">=", 0.8, True), (">", 0.8, False), ("<", 0.8, False), ("<=", 0.8, True), (">=", 0.81, False)],
)
def test_a_target_is_compared_as_it_was_said(op: Any, value: float, met: bool) -> None:
    goal = Goal(metric="accuracy", op=op, value=value, measured=True)
    assert reached(goal, {"accuracy": [0.8, 0.7, 0.9]}) is met


def test_a_target_that_is_not_measured_is_neither_met_nor_missed() -> None:
    assert reached(Goal(metric="win_rate", op=">=", value=0.7, measured=True), {"accuracy": [0.8, 0.7, 0.9]}) is None
    assert (
        reached(Goal(metric="accuracy", op=">", value="GPT-4", measured=False), {"accuracy": [0.8, 0.7, 0.9]}) is None
    )
    assert reached(Goal(metric="eval_loss", op="<", value=1.0, measured=True), {"evalLoss": 0.9}) is True
