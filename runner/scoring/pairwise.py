"""Pairwise comparison: what the votes in both orders make of a pair, the win rate, and how much the position decided.

Every interval is Wilson's at 95 %, over prompts: pairs of one prompt are averaged first, and a tie counts half. Of all
values between 0 and 1 with the same mean, zeros and ones vary most, so the interval is never too narrow for halves.
"""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from runner.scoring.intervals import Interval, wilson

Vote = Literal["first", "second", "tie", "invalid"]
"""Which of two answers a judge prefers, by the position it was shown in."""
Outcome = Literal["left", "right", "tie", "invalid"]
_POINTS = {"left": 1.0, "tie": 0.5, "right": 0.0}


class Votes(NamedTuple):
    """The two votes on one pair: `forward` was shown the left answer first, `backward` the right one."""

    forward: Vote
    backward: Vote


def decide(votes: Votes) -> Outcome:
    """An answer wins when both orders name it. `invalid` where either vote is; any other pair is a tie."""
    if "invalid" in votes:
        return "invalid"
    if votes == ("first", "second"):
        return "left"
    return "right" if votes == ("second", "first") else "tie"


def summarise(prompts: Sequence[str], votes: Sequence[Votes]) -> dict[str, Any]:
    """Counts and rates of the left answers, as plain JSON; `prompts` tells which pairs belong together.

    `winRate` leaves invalid pairs out; `firstShare` is how often the answer shown first was named, of the votes that
    named one: 50 % for a judge that the position does not move.
    """
    outcomes = [decide(pair) for pair in votes]
    counted = [(prompt, outcome) for prompt, outcome in zip(prompts, outcomes, strict=True) if outcome != "invalid"]
    named = [(prompt, _first_share(pair)) for prompt, pair in zip(prompts, votes, strict=True)]
    return {
        "pairs": len(votes),
        "wins": outcomes.count("left"),
        "losses": outcomes.count("right"),
        "ties": outcomes.count("tie"),
        "invalid": outcomes.count("invalid"),
        "contradictions": sum(pair.forward == pair.backward and pair.forward in ("first", "second") for pair in votes),
        "prompts": len({prompt for prompt, _ in counted}),
        "points": points_of([(prompt, _POINTS[outcome]) for prompt, outcome in counted]),
        "winRate": rate_of([(prompt, _POINTS[outcome]) for prompt, outcome in counted]),
        "firstShare": rate_of([(prompt, share) for prompt, share in named if share is not None]),
    }


def rate_of(scores: Sequence[tuple[str, float]]) -> Interval:
    """The mean over prompts of scores between 0 and 1; pairs of one prompt are averaged first."""
    points = points_of(scores)
    return wilson(sum(points.values()), len(points))


def points_of(scores: Sequence[tuple[str, float]]) -> dict[str, float]:
    """The mean score of each prompt."""
    sums: dict[str, list[float]] = {}
    for prompt, score in scores:
        sums.setdefault(prompt, []).append(score)
    return {prompt: sum(values) / len(values) for prompt, values in sums.items()}


def _first_share(votes: Votes) -> float | None:
    named = [vote == "first" for vote in votes if vote in ("first", "second")]
    return sum(named) / len(named) if named else None
