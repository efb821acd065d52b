"""Validation loss with an interval: the mean over tokens, whose error is that of the rows they come in.

Tokens of a row are not independent, so rows are what is sampled: the delta method for a ratio of sums. Differences are
taken row by row, which takes out what makes a row hard for every model.
"""

from collections.abc import Sequence

import numpy as np

from runner.scoring.intervals import Interval

_Z = 1.959963984540054


def loss_interval(sums: Sequence[float], tokens: Sequence[int]) -> Interval:
    """Mean loss per token, with its 95 % interval; `sums` and `tokens` are per row. (0, 0, 0) without tokens.

    Of a single row no error can be told: its interval is infinite.
    """
    values, counts = np.asarray(sums, dtype=float), np.asarray(tokens, dtype=float)
    total, rows = float(counts.sum()), len(counts)
    if total == 0:
        return Interval(0.0, 0.0, 0.0)
    mean = float(values.sum()) / total
    if rows == 1:
        return Interval(mean, float("-inf"), float("inf"))
    residuals = values - mean * counts
    half = _Z * float(np.sqrt(rows / (rows - 1) * (residuals**2).sum())) / total
    return Interval(mean, mean - half, mean + half)


def loss_difference(sums: Sequence[float], other: Sequence[float], tokens: Sequence[int]) -> Interval:
    """By how much the mean loss of `sums` is above that of `other` on the same rows."""
    return loss_interval([late - early for late, early in zip(sums, other, strict=True)], tokens)
