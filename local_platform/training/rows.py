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
    """Examples end to end. `ids` (tokens,) int32; `trained` (tokens,) bool; `offsets` (rows + 1,) int64;
    `weights` (rows,) float32; `row` and `line` (rows,) int64 say where each came from."""

    ids: np.ndarray
    trained: np.ndarray
    offsets: np.ndarray
    weights: np.ndarray
    row: np.ndarray
    line: np.ndarray

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

    @cached_property
    def trained_counts(self) -> np.ndarray:
        """(rows,) tokens of each row that carry loss."""
        sums = np.concatenate([[0], np.cumsum(self.trained, dtype=np.int64)])
        return sums[self.offsets[1:]] - sums[self.offsets[:-1]]

    @cached_property
    def useful_lengths(self) -> np.ndarray:
        """(rows,) tokens up to, not including, the last trained one: what follows cannot change the loss."""
        positions = np.where(self.trained, np.arange(len(self.trained)), -1)
        last = np.maximum.reduceat(positions, self.offsets[:-1]) if len(self) else np.zeros(0, dtype=np.int64)
        return last - self.offsets[:-1]

    @cached_property
    def prompt_lengths(self) -> np.ndarray:
        """(rows,) tokens before the first trained one."""
        positions = np.where(self.trained, np.arange(len(self.trained)), len(self.trained))
        first = np.minimum.reduceat(positions, self.offsets[:-1]) if len(self) else np.zeros(0, dtype=np.int64)
        return first - self.offsets[:-1]

    def select(self, chosen: np.ndarray) -> "Rows":
        """The rows at these positions, in this order."""
        parts = [np.arange(a, b) for a, b in self.bounds[chosen].tolist()]
        flat = np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)
        offsets = np.concatenate([[0], np.cumsum(self.lengths[chosen])]).astype(np.int64)
        per_row = (part[chosen] for part in (self.weights, self.row, self.line))
        return Rows(self.ids[flat], self.trained[flat], offsets, *per_row)


class RowsBuilder:
    """Collects examples into compact arrays: millions of rows fit where lists of Python integers would not."""

    def __init__(self) -> None:
        self._ids, self._trained = array("i"), bytearray()
        self._offsets, self._rows, self._lines, self._weights = array("q", [0]), array("q"), array("q"), array("f")

    def add(self, example: Example) -> None:
        """Append one example. The first token never carries loss: nothing comes before it to predict it from."""
        self._ids.extend(example.ids)
        trained = bytearray(len(example.ids))
        for start, end in example.trained:
            trained[max(start, 1) : end] = b"\x01" * (end - max(start, 1))
        self._trained += trained
        self._offsets.append(len(self._ids))
        self._weights.append(example.weight)
        self._rows.append(example.row)
        self._lines.append(example.line)

    def build(self) -> Rows:
        """The arrays of all that was added."""
        return Rows(
            ids=np.array(self._ids, dtype=np.int32),
            trained=np.frombuffer(self._trained, dtype=np.bool_).copy(),
            offsets=np.array(self._offsets, dtype=np.int64),
            weights=np.array(self._weights, dtype=np.float32),
            row=np.array(self._rows, dtype=np.int64),
            line=np.array(self._lines, dtype=np.int64),
        )


FIELDS = ("ids", "trained", "offsets", "weights", "row", "line")


def save_rows(rows: Rows, path: Path) -> None:
    """Write the arrays to one file, atomically."""
    with replace_file(path) as file:
        np.savez(file, **{field: getattr(rows, field) for field in FIELDS})


def load_rows(path: Path) -> Rows:
    """The inverse of save_rows."""
    with np.load(path, allow_pickle=False) as arrays:
        return Rows(**{field: arrays[field] for field in FIELDS})
