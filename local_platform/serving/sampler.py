"""From logits to the next token of each row.

Random numbers come from one generator per row, so what a row draws does not depend on the batch. A draw inverts the
cumulative distribution in vocabulary order: rounding that differs between batches can then change a token only when the
drawn number falls within that rounding of a boundary.
"""

import random
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from local_platform.serving.requests import Sampling


class Chooser(Protocol):
    """What the sampler needs of a row."""

    sampling: Sampling
    random: random.Random
    prompt_ids: tuple[int, ...]
    output_ids: list[int]


def choose(logits: Tensor, rows: Sequence[Chooser]) -> Tensor:
    """Next token per row, int64 [rows]. `logits` is float32 [rows, vocabulary] and is left unchanged."""
    if any(row.sampling.adjusts for row in rows):
        logits = torch.stack([_adjust(logits[i], row) for i, row in enumerate(rows)])
    chosen = logits.argmax(dim=-1)
    drawn = [i for i, row in enumerate(rows) if row.sampling.temperature > 0]
    if drawn:
        chosen[drawn] = _draw(logits[drawn], [rows[i] for i in drawn])
    return chosen


def _adjust(logits: Tensor, row: Chooser) -> Tensor:
    sampling = row.sampling
    if not sampling.adjusts:
        return logits
    logits = logits.clone()
    if sampling.repetition_penalty != 1.0:
        seen = torch.tensor(sorted({*row.prompt_ids, *row.output_ids}), device=logits.device)
        values = logits[seen]
        penalty = max(sampling.repetition_penalty, 1e-6)
        logits[seen] = torch.where(values > 0, values / penalty, values * penalty)
    if row.output_ids and (sampling.frequency_penalty or sampling.presence_penalty):
        tokens, counts = torch.tensor(row.output_ids, device=logits.device).unique(return_counts=True)
        logits[tokens] -= sampling.frequency_penalty * counts + sampling.presence_penalty
    for token, bias in sampling.logit_bias.items():
        logits[token] += bias
    return logits


def _draw(logits: Tensor, rows: Sequence[Chooser]) -> Tensor:
    device = logits.device
    temperatures = torch.tensor([row.sampling.temperature for row in rows], dtype=logits.dtype, device=device)
    logits = truncate(logits / temperatures[:, None], [row.sampling for row in rows])
    cumulative = logits.double().softmax(dim=-1).cumsum(dim=-1)
    total = cumulative[:, -1:]
    uniform = torch.tensor([[row.random.random()] for row in rows], dtype=torch.float64, device=device)
    point = torch.minimum(uniform * total, torch.nextafter(total, torch.zeros_like(total)))
    return torch.searchsorted(cumulative, point, right=True)[:, 0]


def truncate(logits: Tensor, samplings: Sequence[Sampling]) -> Tensor:
    """Set what top_k, top_p and min_p exclude to -inf; the most likely token always stays. [rows, vocabulary]."""
    if all((s.top_k, s.top_p, s.min_p) == (0, 1.0, 0.0) for s in samplings):
        return logits
    size = logits.shape[-1]

    def column(values: list[float]) -> Tensor:
        return torch.tensor(values, dtype=logits.dtype, device=logits.device)[:, None]

    ranked, order = logits.sort(dim=-1, descending=True, stable=True)
    keep_count = column([float(s.top_k or size) for s in samplings])
    drop = torch.arange(size, device=logits.device)[None, :] >= keep_count
    weights = ranked.masked_fill(drop, -torch.inf).softmax(dim=-1)
    # A sum may round to 1 before the tail: "all" must not lose it.
    top_p = column([s.top_p if s.top_p < 1 else torch.inf for s in samplings])
    drop |= weights.cumsum(dim=-1) - weights >= top_p
    drop |= weights < column([s.min_p for s in samplings]) * weights[:, :1]
    drop[:, 0] = False
    return logits.masked_fill(torch.zeros_like(drop).scatter(1, order, drop), -torch.inf)
