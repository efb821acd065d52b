"""Scores of models on preference pairs, from the log-probabilities of both answers. With 95 % intervals. Pure.

A model prefers the answer whose mean log-probability per token is higher: a property of one model, so base and tuned
models of any method can be compared. The margin says by how many nats tuning moved both answers of a pair apart.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from runner.scoring.intervals import bootstrap, interval_of
from runner.scoring.labels import difference
from runner.scoring.winner import Verdict

TIE = 1e-3
"""Answers whose log-probabilities differ by less than this many nats are ties: such differences are rounding."""


class Likelihood(NamedTuple):
    """Of one pair under one model: the summed log-probabilities of both answers, and their tokens."""

    preferred: float
    other: float
    preferred_tokens: int
    other_tokens: int


class Entry(NamedTuple):
    """One tuned model: the pairs it is right on (1, ties a half), `likely` its mean log-probability per token of the
    preferred answers, `size` the parameters of its base model."""

    name: str
    base: str
    hits: list[float]
    likely: float
    size: float


def hits_of(pairs: Sequence[Likelihood]) -> list[float]:
    """1 for each pair whose preferred answer is the more likely one per token, 0 for others, a half for ties."""
    return [_win(_mean_gap(pair), TIE / max(pair.preferred_tokens, pair.other_tokens)) for pair in pairs]


def likely(pairs: Sequence[Likelihood]) -> float:
    """The mean log-probability per token of the preferred answers, each answer counting alike."""
    return sum(pair.preferred / pair.preferred_tokens for pair in pairs) / len(pairs)


def moved(base: Sequence[Likelihood], tuned: Sequence[Likelihood]) -> list[float]:
    """By how many nats each preferred answer gained more than the other one: DPO's reward margin over its beta."""
    return [
        (after.preferred - before.preferred) - (after.other - before.other)
        for before, after in zip(base, tuned, strict=True)
    ]


def score_base(base: Sequence[Likelihood]) -> dict[str, Any]:
    """Of a model that is not tuned: accuracy as [value, low, high], and how likely the preferred answers are."""
    return {"accuracy": interval_of(hits_of(base)), "likely": likely(base)}


def score_tuned(base: Sequence[Likelihood], tuned: Sequence[Likelihood]) -> dict[str, Any]:
    """The same of a tuned model, with its paired gain in accuracy, and the margin with how often it is positive."""
    margins = moved(base, tuned)
    return score_base(tuned) | {
        "gain": difference(hits_of(base), hits_of(tuned)),
        "margin": bootstrap(margins),
        "rewardAccuracy": interval_of([_win(margin, TIE) for margin in margins]),
    }


def choose_preferred(
    entries: Sequence[Entry], bases: dict[str, list[float]], measure: str = "preference accuracy"
) -> Verdict:
    """The winner, why, and whether it beats its base model (hits by name in `bases`) beyond chance.

    `measure` is what the hits are of.

    Entries whose paired difference to the best has an interval that contains 0 are a tie: it goes to the smallest base
    model, then to who finds the preferred answers most likely, because training on pairs can make both unlikely.
    """
    best = max(entries, key=lambda entry: sum(entry.hits))
    tied = [entry for entry in entries if entry is best or difference(entry.hits, best.hits).low <= 0]
    winner = min(tied, key=lambda entry: (entry.size, -entry.likely, entry.name))
    reason = f"the highest {measure}"
    if winner is not best:
        gap = difference(winner.hits, best.hits)
        why = "the smaller base model" if winner.size < best.size else "it finds the preferred answers more likely"
        points = f"{gap.low * 100:+.1f} to {gap.high * 100:+.1f} points between them, 95 % interval"
        reason = f"a tie with {best.name} ({points}), and {why}"
    return Verdict(winner.name, reason, difference(bases[winner.base], winner.hits).low > 0)


def _mean_gap(pair: Likelihood) -> float:
    return pair.preferred / pair.preferred_tokens - pair.other / pair.other_tokens


def _win(gap: float, tie: float) -> float:
    return 0.5 if abs(gap) < tie else float(gap > 0)
