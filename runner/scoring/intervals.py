"""95 % confidence intervals: Wilson for shares, a seeded bootstrap for means of other scores and for differences."""

import math
import random
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

_Z = 1.959963984540054
_ROUNDS = 2000


class Interval(NamedTuple):
    """A mean with its bounds."""

    mean: float
    low: float
    high: float


def interval_of(scores: Sequence[float]) -> Interval:
    """The mean of scores between 0 and 1: Wilson when all are 0 or 1, else bootstrap."""
    if all(score in (0.0, 1.0) for score in scores):
        return wilson(sum(score == 1.0 for score in scores), len(scores))
    return bootstrap(scores)


def wilson(hits: float, trials: int) -> Interval:
    """Wilson score interval of a share; (0, 0, 1) without trials. Half a hit counts half."""
    if trials == 0:
        return Interval(0.0, 0.0, 1.0)
    share, z2 = hits / trials, _Z * _Z
    centre = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    half = _Z / (1 + z2 / trials) * math.sqrt(share * (1 - share) / trials + z2 / (4 * trials * trials))
    return Interval(share, max(0.0, centre - half), min(1.0, centre + half))


def bootstrap(scores: Sequence[float], seed: int = 42) -> Interval:
    """Percentile bootstrap of the mean. Used on paired differences too, which respects the pairing."""
    return _bootstrap(tuple(scores), seed)


@lru_cache(512)
def _bootstrap(scores: tuple[float, ...], seed: int) -> Interval:
    """Kept, because what is shown at each step of a session repeats what was shown before."""
    if not scores:
        return Interval(0.0, 0.0, 0.0)
    rng, size = random.Random(seed), len(scores)
    means = sorted(sum(rng.choices(scores, k=size)) / size for _ in range(_ROUNDS))
    return Interval(sum(scores) / size, means[int(0.025 * _ROUNDS)], means[int(0.975 * _ROUNDS) - 1])
