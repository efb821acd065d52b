"""Which rows go into which forward pass, and a pass as tensors.

A pass holds whole rows end to end up to a token budget [P53]. The order is a shuffle seeded by (seed, epoch), so
the plan of any epoch can be made again at any time: a resumed job needs to remember nothing but its step.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch

from local_platform.training.attention import Layout, lay_out
from local_platform.training.rows import Rows

MIN_SHARED = 8
"""Shorter common beginnings are not worth their bookkeeping."""


@dataclass(frozen=True)
class Budget:
    """How much one forward pass holds: tokens, or rows when `rows` is set."""

    tokens: int
    rows: int | None = None


@dataclass(frozen=True)
class Pack:
    """One forward pass: rows end to end, a common beginning once. T tokens, of which L predict a trained one."""

    ids: torch.Tensor
    """(1, T) int64"""
    positions: torch.Tensor
    """(1, T) int64, from 0 in each row"""
    layout: Layout
    predicting: torch.Tensor
    """(L,) int64: the places whose next token is trained"""
    targets: torch.Tensor
    """(L,) int64: those next tokens"""
    weights: torch.Tensor
    """(L,) float32: the sample weight of each"""
    row: torch.Tensor
    """(L,) int64: which of the pass's rows each is in"""


def fill(lengths: np.ndarray, order: np.ndarray, budget: Budget) -> list[np.ndarray]:
    """Cut the order into passes that keep to the budget. A row above the budget gets a pass of its own."""
    if budget.rows is not None:
        return [order[i : i + budget.rows] for i in range(0, len(order), budget.rows)]
    ends = np.cumsum(lengths[order])
    passes: list[np.ndarray] = []
    start = 0
    while start < len(order):
        before = int(ends[start - 1]) if start else 0
        stop = max(int(np.searchsorted(ends, before + budget.tokens, side="right")), start + 1)
        passes.append(order[start:stop])
        start = stop
    return passes


def shuffle(count: int, seed: int, epoch: int) -> np.ndarray:
    """The order of the rows in an epoch (from 0)."""
    return np.random.default_rng([seed, epoch]).permutation(count)


@dataclass(frozen=True)
class Plan:
    """The whole run in steps. A step is up to `accumulation` passes; an epoch's last step may be smaller."""

    lengths: np.ndarray
    budget: Budget
    accumulation: int
    epochs: float
    seed: int

    def epoch_steps(self, epoch: int) -> list[list[np.ndarray]]:
        """The steps of an epoch (from 0), each a list of passes, each an array of row numbers."""
        order = shuffle(len(self.lengths), self.seed, epoch)
        share = min(1.0, self.epochs - epoch)
        passes = fill(self.lengths, order[: max(1, round(share * len(order)))], self.budget)
        return [passes[i : i + self.accumulation] for i in range(0, len(passes), self.accumulation)]

    def epoch_ends(self) -> list[int]:
        """Number of steps done at the end of each epoch; the last is the total."""
        counts = [len(self.epoch_steps(epoch)) for epoch in range(math.ceil(self.epochs))]
        return [int(end) for end in np.cumsum(counts)]

    def total_tokens(self) -> int:
        """Tokens of all rows of all epochs."""
        rows = (np.concatenate([p for s in self.epoch_steps(e) for p in s]) for e in range(math.ceil(self.epochs)))
        return sum(int(self.lengths[chosen].sum()) for chosen in rows)


def build_pack(rows: Rows, chosen: np.ndarray, device: torch.device, common: np.ndarray | None = None) -> Pack:
    """The pass of these rows. Each is cut before its last trained token: what follows changes no loss.

    `common` says that the rows are pairs, and how many tokens both rows of each begin with before either predicts a
    trained one: the pack holds those once.
    """
    lengths, starts = rows.useful_lengths[chosen], rows.offsets[chosen]
    shared = _shared_start(rows, chosen)
    taken = np.full(len(chosen), shared)
    if common is not None:
        taken[1::2] = np.where(common - shared >= MIN_SHARED, common, shared)
    own = lengths - taken
    places = np.concatenate(
        [np.arange(starts[0], starts[0] + shared)]
        + [np.arange(a, b) for a, b in zip(starts + taken, starts + lengths, strict=True)]
    )
    following = places + 1
    trained = rows.trained[following]
    trained[:shared] = False
    predicting = np.flatnonzero(trained)
    positions = places - np.concatenate([np.repeat(starts[:1], shared), np.repeat(starts, own)])
    row = np.repeat(np.arange(len(chosen)), own)[predicting - shared]
    return Pack(
        ids=_to(device, rows.ids[places].astype(np.int64)[None]),
        positions=_to(device, positions[None]),
        layout=lay_out(lengths, shared, device, taken),
        predicting=_to(device, predicting),
        targets=_to(device, rows.ids[following[predicting]].astype(np.int64)),
        weights=_to(device, rows.weights[chosen][row]),
        row=_to(device, row),
    )


def _shared_start(rows: Rows, chosen: np.ndarray) -> int:
    """How many tokens all rows have in common before any of them predicts a trained one; 0 if too few to matter."""
    if len(chosen) == 1:
        return 0
    limit = int(rows.prompt_lengths[chosen].min()) - 1
    if limit < MIN_SHARED:
        return 0
    starts = rows.ids[rows.offsets[chosen][:, None] + np.arange(limit)]
    differing = np.flatnonzero((starts != starts[0]).any(axis=0))
    shared = int(differing[0]) if len(differing) else limit
    return shared if shared >= MIN_SHARED else 0


def _to(device: torch.device, values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(values).to(device, non_blocking=True)
