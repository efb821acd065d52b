"""Which base model is tuned, which candidate wins: by accuracy; what chance explains by loss, then the cheaper."""

from collections.abc import Sequence
from typing import NamedTuple

from runner.scoring.intervals import Interval
from runner.scoring.labels import difference
from runner.scoring.winner import TIE, Verdict

Hits = Sequence[float]


class Entry(NamedTuple):
    """One model: `hits` per row (1 right, 0 wrong, the same rows for all), `size` what it costs, `loss` if known."""

    name: str
    hits: Hits
    size: float
    loss: float | None = None

    @property
    def accuracy(self) -> float:
        """Share of rows that are right."""
        return sum(self.hits) / len(self.hits)


def pick(entries: Sequence[Entry]) -> tuple[Entry, Entry, bool]:
    """The winner, the one with the highest accuracy, and whether both are told apart by price only.

    Entries whose paired difference to the best has an interval that contains 0 are a tie. The validation loss tells
    more than so few rows do: the lowest wins, and of losses within 1 % of it the smallest entry.
    """
    best = max(entries, key=lambda entry: entry.accuracy)
    tied = _lowest_losses([entry for entry in entries if difference(entry.hits, best.hits).low <= 0])
    winner = min(tied, key=lambda entry: (entry.size, -entry.accuracy, entry.name))
    return winner, best, winner is not best


def _lowest_losses(entries: list[Entry]) -> list[Entry]:
    losses = [entry.loss for entry in entries if entry.loss is not None]
    if len(losses) < len(entries):
        return entries
    return [entry for entry, loss in zip(entries, losses, strict=True) if loss <= min(losses) * (1 + TIE)]


def strongest(entries: Sequence[Entry]) -> tuple[str, str]:
    """The base model to tune, and why."""
    winner, best, tie = pick(entries)
    if not tie:
        return winner.name, f"the highest accuracy by choice, {winner.accuracy:.1%}"
    gap = difference(winner.hits, best.hits)
    return winner.name, f"a tie with {best.name.rsplit('/', 1)[-1]} ({_points(gap)}), and the smaller model"


def choose_candidate(entries: Sequence[Entry], base: Hits) -> Verdict:
    """The winner, why, and whether it beats the base model beyond chance."""
    winner, best, tie = pick(entries)
    reason = "the highest accuracy by choice"
    if tie:
        gap = difference(winner.hits, best.hits)
        lower = winner.loss is not None and best.loss is not None and winner.loss * (1 + TIE) < best.loss
        why = "the lower validation loss" if lower else "the smaller adapter"
        reason = f"a tie with {best.name} ({_points(gap)}), and {why}"
    return Verdict(winner.name, reason, difference(base, winner.hits).low > 0)


def _points(gap: Interval) -> str:
    return f"{gap.low * 100:+.1f} to {gap.high * 100:+.1f} points between them, 95 % interval"
