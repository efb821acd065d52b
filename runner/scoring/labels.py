"""Scores of predicted labels: accuracy, F1, Jaccard, per label, and which label is taken for which. With intervals."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from runner.scoring.intervals import Interval, bootstrap, interval_of, wilson

Labels = Sequence[str]
_ROUNDS, _SEED = 1000, 42
NO_LABEL = ""
"""In the confusion counts: the answer is none of the labels."""
_Counts = npt.NDArray[np.float64]


def score_labels(truth: Sequence[Labels], predicted: Sequence[Labels], labels: Labels, multi: bool) -> dict[str, Any]:
    """All scores, as plain JSON; each interval is [value, low, high] at 95 %.

    `accuracy` asks for all labels of a row and no other. Macro F1 is over the labels that occur in `truth`; a label
    that is never predicted counts 0. Per label, `recall` is what is called its accuracy.
    """
    present = [label for label in labels if any(label in row for row in truth)]
    real, said = _matrix(truth, present), _matrix(predicted, present)
    hits = [float(set(a) == set(b)) for a, b in zip(truth, predicted, strict=True)]
    scores: dict[str, Any] = {
        "rows": len(truth),
        "accuracy": interval_of(hits),
        "macroF1": _resampled(real, said, _macro),
        "unmatched": sum(not row for row in predicted),
        "perLabel": [_per_label(label, real[:, at], said[:, at]) for at, label in enumerate(present)],
    }
    if multi:
        everything = list(dict.fromkeys([*labels, *(label for row in predicted for label in row)]))
        whole = _matrix(truth, everything), _matrix(predicted, everything)
        shared = [_jaccard(set(a), set(b)) for a, b in zip(truth, predicted, strict=True)]
        return scores | {"microF1": _resampled(*whole, _micro), "jaccard": bootstrap(shared)}
    return scores | {"confusion": _confusion(truth, predicted)}


def hits_of(truth: Sequence[Labels], predicted: Sequence[Labels]) -> list[float]:
    """1 for each row whose labels are all right and complete, else 0."""
    return [float(set(a) == set(b)) for a, b in zip(truth, predicted, strict=True)]


def difference(before: Sequence[float], after: Sequence[float]) -> Interval:
    """The mean of the paired differences, after minus before, with its interval."""
    return bootstrap([late - early for early, late in zip(before, after, strict=True)])


def _matrix(rows: Sequence[Labels], labels: Labels) -> _Counts:
    return np.array([[float(label in row) for label in labels] for row in rows]).reshape(len(rows), len(labels))


def _per_label(label: str, real: _Counts, said: _Counts) -> dict[str, Any]:
    both, rows, times = int((real * said).sum()), int(real.sum()), int(said.sum())
    return {
        "label": label,
        "rows": rows,
        "recall": wilson(both, rows),
        "precision": wilson(both, times) if times else Interval(0.0, 0.0, 0.0),
        "f1": 2 * both / (rows + times) if rows + times else 0.0,
    }


def _macro(both: _Counts, rows: _Counts, times: _Counts) -> _Counts:
    return (2 * both / np.maximum(rows + times, 1)).mean(axis=-1)


def _micro(both: _Counts, rows: _Counts, times: _Counts) -> _Counts:
    return 2 * both.sum(axis=-1) / np.maximum((rows + times).sum(axis=-1), 1)


def _resampled(real: _Counts, said: _Counts, score: Any) -> Interval:
    """A score of sums over rows, with a seeded percentile bootstrap over the rows."""
    rows = len(real)
    if rows == 0 or real.shape[1] == 0:
        return Interval(0.0, 0.0, 0.0)
    times = np.random.default_rng(_SEED).multinomial(rows, [1 / rows] * rows, size=_ROUNDS).astype(float)
    sums = [matrix.sum(axis=0) for matrix in (real * said, real, said)]
    drawn = np.sort(score(*(times @ matrix for matrix in (real * said, real, said))))
    return Interval(float(score(*sums)), float(drawn[int(0.025 * _ROUNDS)]), float(drawn[int(0.975 * _ROUNDS) - 1]))


def _jaccard(real: set[str], said: set[str]) -> float:
    return len(real & said) / len(real | said) if real | said else 0.0


def _confusion(truth: Sequence[Labels], predicted: Sequence[Labels]) -> list[list[Any]]:
    """[label, taken for, rows] for all pairs that occur, in order of the label."""
    counts: dict[tuple[str, str], int] = {}
    for real, said in zip(truth, predicted, strict=True):
        pair = (real[0], said[0] if said else NO_LABEL)
        counts[pair] = counts.get(pair, 0) + 1
    return [[real, said, rows] for (real, said), rows in sorted(counts.items())]
