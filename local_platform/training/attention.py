"""Attention for packed rows: several rows lie one after the other in one sequence, and none sees another.

A block-diagonal mask over the whole pack would cost the square of the pack. Here the rows are gathered into a few
right-padded groups of similar length; in those plain causal attention is exact without any mask, because padding
comes after every real token. The rest of the model runs on the packed sequence and wastes nothing.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

NAME = "pilotlight_packed"
"""What transformers knows this attention by."""

GROUP_WASTE = 1.5
"""One group is used while its padded size stays below this multiple of the real tokens."""


@dataclass(frozen=True)
class Group:
    """`rows` rows, right-padded to `length` tokens each."""

    rows: int
    length: int


@dataclass(frozen=True)
class Layout:
    """Where each token of a pack lies in the padded groups. Without groups, the pack is one row."""

    groups: tuple[Group, ...] = ()
    gather: torch.Tensor | None = None
    """(padded,) index into the pack; padding repeats a real token."""
    restore: torch.Tensor | None = None
    """(tokens,) index into the padded groups."""
    padding: torch.Tensor | None = None
    """(n,) the padded places that hold no token."""


def lay_out(lengths: np.ndarray, device: torch.device) -> Layout:
    """The layout of a pack of rows with these lengths, in order."""
    if len(lengths) == 1:
        return Layout()
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    groups: list[Group] = []
    gathers: list[np.ndarray] = []
    reals: list[np.ndarray] = []
    for members in _group(lengths):
        longest = int(lengths[members].max())
        columns = np.arange(longest)
        groups.append(Group(len(members), longest))
        gathers.append((starts[members, None] + np.minimum(columns, lengths[members, None] - 1)).ravel())
        reals.append((columns < lengths[members, None]).ravel())
    gather, real = np.concatenate(gathers), np.concatenate(reals)
    restore = np.empty(int(lengths.sum()), dtype=np.int64)
    restore[gather[real]] = np.flatnonzero(real)
    to_device = [torch.from_numpy(part).to(device) for part in (gather, restore, np.flatnonzero(~real))]
    return Layout(tuple(groups), *to_device)


def _group(lengths: np.ndarray) -> list[np.ndarray]:
    """Row numbers by similar length: all together if that wastes little, else by powers of two."""
    if lengths.max() * len(lengths) <= GROUP_WASTE * lengths.sum():
        return [np.arange(len(lengths))]
    classes = np.ceil(np.log2(lengths)).astype(np.int64)
    return [np.flatnonzero(classes == size) for size in np.unique(classes)]


class _Pad(torch.autograd.Function):
    """(tokens, features) -> (padded, features). A gather whose backward is a gather too, not a slow scatter."""

    @staticmethod
    def forward(ctx: Any, packed: torch.Tensor, layout: Layout) -> torch.Tensor:
        ctx.layout = layout
        assert layout.gather is not None
        return packed.index_select(0, layout.gather)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: torch.Tensor) -> tuple[torch.Tensor, None]:
        return grad_outputs[0].index_select(0, ctx.layout.restore), None


class _Unpad(torch.autograd.Function):
    """(padded, features) -> (tokens, features); padding gets a zero gradient."""

    @staticmethod
    def forward(ctx: Any, padded: torch.Tensor, layout: Layout) -> torch.Tensor:
        ctx.layout = layout
        assert layout.restore is not None
        return padded.index_select(0, layout.restore)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: torch.Tensor) -> tuple[torch.Tensor, None]:
        gradient = grad_outputs[0].index_select(0, ctx.layout.gather)
        return gradient.index_fill_(0, ctx.layout.padding, 0), None


def attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    layout: Layout | None = None,
    **unused: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention within each row. (1, heads, tokens, size) in, (1, tokens, heads, size) out.

    The signature is the one transformers calls; `layout` comes from the model's forward arguments.
    """
    if layout is None or attention_mask is not None or unused.get("softcap") is not None:
        raise ValueError("Packed attention needs a layout, and supports neither masks nor soft caps.")
    if not layout.groups:
        rows = _causal(query, key, value, scaling, dropout, sliding_window)
        return rows.transpose(1, 2), None
    outputs: list[torch.Tensor] = []
    padded = [_Pad.apply(_flat(states), layout) for states in (query, key, value)]
    sizes = [group.rows * group.length for group in layout.groups]
    parts = zip(*(states.split(sizes) for states in padded), strict=True)
    for group, states in zip(layout.groups, parts, strict=True):
        q, k, v = (
            part.view(group.rows, group.length, -1, whole.shape[-1]).transpose(1, 2)
            for part, whole in zip(states, (query, key, value), strict=True)
        )
        rows = _causal(q, k, v, scaling, dropout, sliding_window).transpose(1, 2)
        outputs.append(rows.reshape(group.rows * group.length, -1))
    joined = outputs[0] if len(outputs) == 1 else torch.cat(outputs)
    packed = _Unpad.apply(joined, layout)
    return packed.view(1, query.shape[2], query.shape[1], value.shape[-1]), None


def _flat(states: torch.Tensor) -> torch.Tensor:
    """(1, heads, tokens, size) -> (tokens, heads * size); a view when the memory lies token by token."""
    return states.transpose(1, 2).reshape(states.shape[2], -1)


def _causal(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    scaling: float | None,
    dropout: float,
    window: int | None,
) -> torch.Tensor:
    """Causal attention of (rows, heads, length, size); heads of keys and values may be fewer than of queries."""
    length, grouped = query.shape[2], query.shape[1] != key.shape[1]
    if window is None or length <= window:
        return scaled_dot_product_attention(
            query, key, value, dropout_p=dropout, is_causal=True, scale=scaling, enable_gqa=grouped
        )
    distance = torch.arange(length, device=query.device)
    distance = distance[:, None] - distance[None, :]
    mask = (distance >= 0) & (distance < window)
    return scaled_dot_product_attention(
        query, key, value, attn_mask=mask, dropout_p=dropout, scale=scaling, enable_gqa=grouped
    )


AttentionInterface.register(NAME, attend)
