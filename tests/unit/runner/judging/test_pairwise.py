"""What two votes make of a pair, and the rates, against computations that share no code with ours."""

import random
from itertools import product

import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from runner.scoring.pairwise import Vote, Votes, decide, rate_of, summarise

VOTES: tuple[Vote, ...] = ("first", "second", "tie", "invalid")


def test_only_an_answer_that_both_orders_name_wins() -> None:
    decided = {pair: decide(Votes(*pair)) for pair in product(VOTES, VOTES)}
    assert [pair for pair, outcome in decided.items() if outcome == "left"] == [("first", "second")]
    assert [pair for pair, outcome in decided.items() if outcome == "right"] == [("second", "first")]
    assert all((outcome == "invalid") == ("invalid" in pair) for pair, outcome in decided.items())


@given(st.lists(st.tuples(st.sampled_from(VOTES), st.sampled_from(VOTES)), min_size=1, max_size=40))
def test_turning_all_pairs_turns_the_win_rate(pairs: list[tuple[Vote, Vote]]) -> None:
    prompts = [str(place) for place in range(len(pairs))]
    votes = [Votes(*pair) for pair in pairs]
    turned = [Votes(pair.backward, pair.forward) for pair in votes]
    one, other = summarise(prompts, votes), summarise(prompts, turned)
    assert (one["wins"], one["ties"], one["invalid"]) == (other["losses"], other["ties"], other["invalid"])
    if one["prompts"]:
        assert one["winRate"].mean == pytest.approx(1 - other["winRate"].mean)
        assert one["winRate"].low == pytest.approx(1 - other["winRate"].high)


def test_rates_without_ties_are_scipys() -> None:
    rng = random.Random(3)
    votes = [Votes("first", "second") if rng.random() < 0.7 else Votes("second", "first") for _ in range(83)]
    found = summarise([str(n) for n in range(83)], votes)["winRate"]
    wins = sum(pair.forward == "first" for pair in votes)
    expected = scipy.stats.binomtest(wins, 83).proportion_ci(0.95, method="wilson")
    assert found == pytest.approx((wins / 83, expected.low, expected.high))


def test_a_judge_that_always_names_the_first_gives_ties_and_is_shown() -> None:
    found = summarise(["a", "b", "c"], [Votes("first", "first")] * 3)
    assert (found["ties"], found["contradictions"], found["wins"], found["invalid"]) == (3, 3, 0, 0)
    assert found["winRate"].mean == 0.5
    assert found["winRate"].low < 0.5 < found["winRate"].high
    assert found["firstShare"].mean == 1


def test_invalid_pairs_count_for_nothing() -> None:
    votes = [Votes("first", "second"), Votes("invalid", "second"), Votes("tie", "tie")]
    found = summarise(["a", "b", "c"], votes)
    assert (found["pairs"], found["invalid"], found["prompts"]) == (3, 1, 2)
    assert found["winRate"].mean == 0.75
    # of the votes that name one: a 1 of 2, b 0 of 1
    assert found["firstShare"].mean == 0.25


def test_pairs_of_one_prompt_are_one_observation() -> None:
    alone = rate_of([("a", 1.0), ("b", 0.0)])
    assert rate_of([("a", 1.0)] * 50 + [("b", 0.0)] * 3) == alone


def test_the_interval_covers_the_rate_with_ties() -> None:
    rng, hits = random.Random(5), 0
    for _ in range(300):
        sample = [(str(n), rng.choices([1.0, 0.5, 0.0], [0.5, 0.3, 0.2])[0]) for n in range(40)]
        found = rate_of(sample)
        hits += found.low <= 0.65 <= found.high
    assert hits >= 285
