"""Preference pairs as rows: a preferred conversation and another one that begins with the same prompt."""

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from local_platform.training.forward import Network
from local_platform.training.packing import build_pack
from local_platform.training.rows import Rows


@dataclass(frozen=True)
class Pairs:
    """Rows 2k (preferred) and 2k + 1 (not preferred) of `rows` are pair k."""

    rows: Rows

    def __len__(self) -> int:
        return len(self.rows) // 2

    @cached_property
    def lengths(self) -> np.ndarray:
        """(pairs,) tokens of both rows."""
        return self.rows.lengths.reshape(-1, 2).sum(axis=1)

    @cached_property
    def counts(self) -> np.ndarray:
        """(pairs, 2) tokens that carry loss."""
        return self.rows.trained_counts.reshape(-1, 2)

    @cached_property
    def trained_counts(self) -> np.ndarray:
        """(pairs,) tokens of both rows that carry loss."""
        return self.counts.sum(axis=1)

    @cached_property
    def weights(self) -> np.ndarray:
        """(pairs,) sample weights."""
        return self.rows.weights[::2]

    @cached_property
    def common(self) -> np.ndarray:
        """(pairs,) tokens that both rows begin with before either predicts a trained one."""
        return np.array([self._common(pair) for pair in range(len(self))], dtype=np.int64)

    def rows_of(self, chosen: np.ndarray) -> np.ndarray:
        """The row numbers of some pairs, each preferred one before its counterpart."""
        return (2 * chosen[:, None] + np.arange(2)).ravel()

    def select(self, kept: np.ndarray) -> "Pairs":
        """The pairs that the (pairs,) mask keeps, in their order."""
        return Pairs(self.rows.select(np.repeat(kept, 2)))

    def prompt_keys(self) -> np.ndarray:
        """(pairs,) a hash of the prompt's tokens: equal prompts, equal keys."""
        starts, lengths = self.rows.offsets[:-1:2], self.rows.prompt_lengths[::2]
        ids = (self.rows.ids[start : start + length] for start, length in zip(starts, lengths, strict=True))
        return np.array([hashlib.sha256(prompt.tobytes()).hexdigest() for prompt in ids])

    def digest(self) -> str:
        """SHA-256 over all tokens and what of them is trained."""
        parts = (self.rows.ids, self.rows.trained, self.rows.offsets)
        return hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest()

    def _common(self, pair: int) -> int:
        first, second = self.rows.offsets[2 * pair], self.rows.offsets[2 * pair + 1]
        limit = int(self.rows.prompt_lengths[2 * pair : 2 * pair + 2].min()) - 1
        differing = np.flatnonzero(self.rows.ids[first : first + limit] != self.rows.ids[second : second + limit])
        return int(differing[0]) if len(differing) else max(limit, 0)


def answer_likelihoods(network: Network, pairs: Pairs, chosen: np.ndarray) -> torch.Tensor:
    """(n, 2) float64: the log-probability of both answers of these pairs, each summed over its tokens."""
    pack = build_pack(pairs.rows, pairs.rows_of(chosen), network.device.device, pairs.common[chosen])
    losses = network.losses(pack).double()
    return -losses.new_zeros(2 * len(chosen)).index_add(0, pack.row, losses).view(-1, 2)
