"""An evaluation set out of the training set, for jobs that bring none [P51]."""

import hashlib

import numpy as np

from local_platform.training.pairs import Pairs
from local_platform.training.rows import Rows

SHARE = 0.1
MAX_ROWS = 1000
SEED = 42


def carve_out(rows: Rows) -> tuple[Rows, Rows | None]:
    """(training, evaluation): about a tenth of the dataset's rows, at most 1,000 and at least one.

    Chosen by a hash of the content with a fixed seed: equal rows stay on one side, so do the examples unrolled from
    one row, and neither the order of the file nor the seed of the job matters. None when all rows are equal.
    """
    _, first, source_of = np.unique(rows.row, return_index=True, return_inverse=True)
    ends = np.append(rows.offsets[first[1:]], rows.offsets[-1])
    keys = np.array([_key(rows.ids[a:b].tobytes()) for a, b in zip(rows.offsets[first], ends, strict=True)])
    held = _hold_out(keys)
    if held is None:
        return rows, None
    return rows.select(~held[source_of]), rows.select(held[source_of])


def carve_out_pairs(pairs: Pairs) -> tuple[Pairs, Pairs | None]:
    """As carve_out, by the prompt: pairs that share one stay on one side. None when all prompts are equal."""
    held = _hold_out(np.array([_key(key.encode()) for key in pairs.prompt_keys()]))
    return (pairs, None) if held is None else (pairs.select(~held), pairs.select(held))


def _hold_out(keys: np.ndarray) -> np.ndarray | None:
    """A mask over units by their keys: equal keys together. None when all are equal."""
    contents, content_of, counts = np.unique(keys, return_inverse=True, return_counts=True)
    if len(contents) < 2:
        return None
    return _choose(counts, min(MAX_ROWS, max(1, round(SHARE * len(keys)))))[content_of]


def _choose(counts: np.ndarray, target: int) -> np.ndarray:
    """A mask over groups of equal rows, in hash order: as many whole groups as fit the target, at least one."""
    fitting = np.flatnonzero(counts <= target)
    chosen = fitting[np.cumsum(counts[fitting]) <= target]
    mask = np.zeros(len(counts), dtype=np.bool_)
    mask[chosen if 0 < len(chosen) < len(counts) else [int(np.argmin(counts))]] = True
    return mask


def _key(content: bytes) -> str:
    return hashlib.sha256(b"%d:" % SEED + content).hexdigest()
