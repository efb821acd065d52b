"""Tokenised rows in flat arrays: built once, cached on disk, sliced without Python per token."""

from array import array
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from local_platform.training.files import replace_file


@dataclass(frozen=True)
class Example:
    """One rendered conversation: what one forward row is made of."""

    ids: list[int]
    trained: list[tuple[int, int]]
    """Half-open token spans that carry loss."""
    weight: float
    row: int
    """0-based among the rows of the file."""
    line: int
    """1-based line of the file."""


@dataclass(frozen=True)
class Rows:
    """Examples end to end. `ids` (tokens,) int32; `trained` (tokens,) bool; `offsets` (rows + 1,) int64; the others
    (rows,): `weights` float32, all others int64."""

    ids: np.ndarray
    trained: np.ndarray
    offsets: np.ndarray
    weights: np.ndarray
    row: np.ndarray
    line: np.ndarray
    trained_counts: np.ndarray
    """Tokens that carry loss."""
    prompt_lengths: np.ndarray
    """Tokens before the first that carries loss."""
    useful_lengths: np.ndarray
    """Tokens up to, not including, the last that carries loss: what follows cannot change it. 0 if none does."""

    def __len__(self) -> int:
        return len(self.weights)

    @cached_property
    def bounds(self) -> np.ndarray:
        """(rows, 2) where each row begins and ends in the flat arrays."""
        return np.stack([self.offsets[:-1], self.offsets[1:]], axis=1)

    @cached_property
    def lengths(self) -> np.ndarray:
        """(rows,) tokens of each row."""
        return np.diff(self.offsets)

    def select(self, kept: np.ndarray) -> "Rows":
        """The rows that the (rows,) mask keeps, in their order."""
        tokens = np.repeat(kept, self.lengths)
        offsets = np.concatenate([[0], np.cumsum(self.lengths[kept])]).astype(np.int64)
        per_row = (getattr(self, field)[kept] for field in PER_ROW)
        return Rows(self.ids[tokens], self.trained[tokens], offsets, *per_row)


PER_ROW = ("weights", "row", "line", "trained_counts", "prompt_lengths", "useful_lengths")
FIELDS = ("ids", "trained", "offsets", *PER_ROW)


class RowsBuilder:
    """Collects examples into compact arrays: millions of rows fit where lists of Python integers would not."""

    def __init__(self) -> None:
        self._ids, self._trained, self._offsets = array("i"), bytearray(), array("q", [0])
        self._weights = array("f")
        self._numbers = [array("q") for _ in PER_ROW[1:]]

    def add(self, example: Example) -> None:
        """Append one example. The first token never carries loss: nothing comes before it to predict it from."""
        spans = [(max(start, 1), end) for start, end in example.trained if end > max(start, 1)]
        trained = bytearray(len(example.ids))
        for start, end in spans:
            trained[start:end] = b"\x01" * (end - start)
        self._ids.extend(example.ids)
        self._trained += trained
        self._offsets.append(len(self._ids))
        self._weights.append(example.weight)
        first, last = (spans[0][0], spans[-1][1] - 1) if spans else (len(example.ids), 0)
        numbers = (example.row, example.line, sum(trained), first, last)
        for column, number in zip(self._numbers, numbers, strict=True):
            column.append(number)

    def build(self) -> Rows:
        """The arrays of all that was added."""
        return Rows(
            np.array(self._ids, dtype=np.int32),
            np.frombuffer(self._trained, dtype=np.bool_).copy(),
            np.array(self._offsets, dtype=np.int64),
            np.array(self._weights, dtype=np.float32),
            *(np.array(column, dtype=np.int64) for column in self._numbers),
        )


def save_rows(rows: Rows, path: Path) -> None:
    """Write the arrays to one file, atomically."""
    with replace_file(path) as file:
        np.savez(file, **{field: getattr(rows, field) for field in FIELDS})


def load_rows(path: Path) -> Rows:
    """The inverse of save_rows."""
    with np.load(path, allow_pickle=False) as arrays:
        return Rows(**{field: arrays[field] for field in FIELDS})
