"""The running batch: rows of different lengths and adapters over one key-value cache, padded on the left.

Rows join between two steps (their own prefill first) and leave when they finish, so nobody waits for the longest.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from local_platform.serving.row import Row
from local_platform.serving.weights import Weights

PREFILL_COLUMNS = 512
"""Columns of a prompt per forward pass: bounds the memory of activations and prompt logits."""


class Batch:
    """Rows that decode together. Invariant: mask int64 [rows, cached]; each row's last token is not cached yet."""

    def __init__(self, rows: list[Row], cache: DynamicCache, mask: Tensor) -> None:
        self.rows = rows
        self._cache = cache
        self._mask = mask

    def step(self, weights: Weights) -> Tensor:
        """Feed each row's last token; logits float32 [rows, vocabulary] of its successor."""
        ids = torch.tensor([[row.last_token] for row in self.rows], device=self._mask.device)
        self._mask = torch.cat([self._mask, torch.ones_like(ids)], dim=1)
        positions = self._mask.sum(dim=1, keepdim=True) - 1
        adapters = [row.request.adapter for row in self.rows]
        return weights.forward(ids, self._mask, positions, self._cache, adapters, 1)[:, -1]

    def join(self, other: "Batch") -> None:
        """Take over the rows of `other`, padding the shorter cache on the left."""
        width = max(self._mask.shape[1], other._mask.shape[1])
        self._widen(width)
        other._widen(width)
        for mine, theirs in zip(_layers(self._cache), _layers(other._cache), strict=True):
            mine.keys = torch.cat([mine.keys, theirs.keys])
            mine.values = torch.cat([mine.values, theirs.values])
        self._mask = torch.cat([self._mask, other._mask])
        self.rows += other.rows

    def keep(self, places: list[int]) -> None:
        """Drop all rows but those at `places`, and the padding that nobody needs any more."""
        if len(places) == len(self.rows):
            return
        self.rows = [self.rows[place] for place in places]
        index = torch.tensor(places, device=self._mask.device, dtype=torch.long)
        self._mask = self._mask[index]
        spare = int((self._mask.cumsum(dim=1) == 0).sum(dim=1).min()) if places else 0
        self._mask = self._mask[:, spare:]
        for layer in _layers(self._cache):
            layer.keys = layer.keys[index, :, spare:]
            layer.values = layer.values[index, :, spare:]

    def _widen(self, width: int) -> None:
        missing = width - self._mask.shape[1]
        if missing == 0:
            return
        self._mask = torch.nn.functional.pad(self._mask, (missing, 0))
        for layer in _layers(self._cache):
            layer.keys = torch.nn.functional.pad(layer.keys, (0, 0, missing, 0))
            layer.values = torch.nn.functional.pad(layer.values, (0, 0, missing, 0))


def prefill(weights: Weights, rows: Sequence[Row]) -> tuple[Batch, Tensor]:
    """Run the prompts; returns the new batch and the logits float32 [rows, vocabulary] of the first new token.

    Equal prompts under the same adapter (n > 1, or many questions of one kind) are computed once. Rows that asked for
    prompt log-probabilities get them here.
    """
    unique: dict[tuple[str | None, tuple[int, ...]], int] = {}
    places = [unique.setdefault((row.request.adapter, row.request.prompt_ids), len(unique)) for row in rows]
    prompts = [list(prompt) for _, prompt in unique]
    adapters = [adapter for adapter, _ in unique]
    width = max(len(prompt) for prompt in prompts)
    device = weights.device
    ids = torch.tensor([[0] * (width - len(prompt)) + prompt for prompt in prompts], device=device)
    mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts], device=device)
    positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
    # Without a config all layers are plain growing ones; models with sliding windows mask them by themselves.
    cache = DynamicCache()
    scored = any(row.request.prompt_logprobs_from is not None for row in rows)
    logits = torch.empty(0)
    for start in range(0, width, PREFILL_COLUMNS):
        end = min(start + PREFILL_COLUMNS, width)
        chunk, at = slice(start, end), positions[:, start:end]
        logits = weights.forward(ids[:, chunk], mask[:, :end], at, cache, adapters, 0 if scored else 1)
        if scored:
            for row, place in zip(rows, places, strict=True):
                row.note_prompt(logits[place], first=start - (width - len(row.request.prompt_ids)))
    index = torch.tensor(places, device=device)
    if len(unique) < len(rows):
        cache.batch_select_indices(index)
        mask = mask[index]
    return Batch(list(rows), cache, mask), logits[index, -1]


def _layers(cache: DynamicCache) -> list[Any]:
    return cache.layers
