"""Rows by label: a split that shows every label to both sides, and training rows in equal shares. Seeded, pure."""

from collections import defaultdict
from collections.abc import Sequence

from runner.data.split import shuffled

MOST_REPEATS = 20
"""A row occurs so many times at most when labels are rebalanced."""
_LIGHTEST, _HEAVIEST = 0.1, 10.0


def rarest(labels: Sequence[str], counts: dict[str, int]) -> str:
    """The label that a row counts for: of several the one with the fewest rows."""
    return min(labels, key=lambda label: (counts[label], label))


def choose_share(groups: Sequence[int], strata: Sequence[str], share: float) -> set[int]:
    """The groups that make up about `share` of the rows of each stratum; of two or more groups never none, never all.

    A group is a content key; equal keys stay together, in the stratum of their first row.
    """
    sizes, home = defaultdict[int, int](int), dict[int, str]()
    for group, stratum in zip(groups, strata, strict=True):
        sizes[group] += 1
        home.setdefault(group, stratum)
    by_stratum = defaultdict[str, list[int]](list)
    for group, stratum in home.items():
        by_stratum[stratum].append(group)
    return {group for mine in by_stratum.values() for group in _take(mine, sizes, share)}


def _take(groups: list[int], sizes: dict[int, int], share: float) -> list[int]:
    wanted, taken, chosen = share * sum(sizes[group] for group in groups), 0, list[int]()
    for group in sorted(groups, key=shuffled)[:-1]:
        if chosen and taken + sizes[group] / 2 > wanted:
            break
        chosen.append(group)
        taken += sizes[group]
    return chosen


def equal_shares(strata: Sequence[str]) -> list[int]:
    """How often each row occurs so that all strata have about the same number: thinned out, or repeated."""
    places = defaultdict[str, list[int]](list)
    for place, stratum in enumerate(strata):
        places[stratum].append(place)
    target, times = max(1, round(len(strata) / len(places))), [0] * len(strata)
    for mine in places.values():
        order = sorted(mine, key=shuffled)
        whole, rest = divmod(min(target, MOST_REPEATS * len(mine)), len(mine))
        for rank, place in enumerate(order):
            times[place] = whole + (rank < rest)
    return times


def weights_of(strata: Sequence[str]) -> list[float]:
    """A weight per row, the higher the rarer its stratum, with mean 1 before rounding to 4 digits."""
    counts = defaultdict[str, int](int)
    for stratum in strata:
        counts[stratum] += 1
    even = len(strata) / len(counts)
    raw = [min(_HEAVIEST, max(_LIGHTEST, even / counts[stratum])) for stratum in strata]
    scale = len(raw) / sum(raw)
    return [round(weight * scale, 4) for weight in raw]
