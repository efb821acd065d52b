"""Which base model is tuned and which candidate wins: accuracy by choice; what chance explains goes to the cheaper."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from runner.scoring.intervals import Interval
from runner.scoring.labels import difference
from runner.scoring.winner import Verdict

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

    Entries whose paired difference to the best has an interval that contains 0 are a tie: the smallest wins, of equal
    ones that with the lower loss, then the higher accuracy.
    """
    best = max(entries, key=lambda entry: entry.accuracy)
    tied = [entry for entry in entries if difference(entry.hits, best.hits).low <= 0]
    winner = min(tied, key=lambda e: (e.size, e.loss is None, e.loss or 0.0, -e.accuracy, e.name))
    return winner, best, winner is not best


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
        smaller = "the smaller adapter" if winner.size < best.size else "the lower validation loss"
        reason = f"a tie with {best.name} ({_points(gap)}), and {smaller}"
    return Verdict(winner.name, reason, difference(base, winner.hits).low > 0)


def ranked(entries: Mapping[str, Hits]) -> list[str]:
    """Names, the most accurate first."""
    return sorted(entries, key=lambda name: -sum(entries[name]))


def _points(gap: Interval) -> str:
    return f"{gap.low * 100:+.1f} to {gap.high * 100:+.1f} points between them, 95 % interval"
