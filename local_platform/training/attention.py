"""Attention for packed rows: several rows lie one after the other in one sequence, and none sees another.

A block-diagonal mask over the whole pack would cost the square of the pack. Here the rows are gathered into a few
right-padded groups of similar length; in those plain causal attention is exact without any mask, because padding
comes after every real token. The rest of the model runs on the packed sequence and wastes nothing.

Rows that begin alike (the same system prompt, the same tools) keep that beginning only once in the pack: it comes
first, and each row is the beginning and its own rest. Where rows are pairs, the second of a pair also leaves out what
it begins with like the first. A token's state depends on what is before it alone, so this is exact, gradients
included; only attention still sees every row whole.
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
    shared: int = 0
    """Tokens at the start of the pack that begin every row."""
    gather: torch.Tensor | None = None
    """(padded,) index into the pack; padding repeats a real token."""
    restore: torch.Tensor | None = None
    """(tokens,) index into the padded groups."""
    unread: torch.Tensor | None = None
    """(n,) the padded places whose output nothing reads: padding, and all copies of the beginning but the first."""
    twins: torch.Tensor | None = None
    """(m,) the padded places that copy a token of the row before, which the pack holds there only."""
    twin_of: torch.Tensor | None = None
    """(m,) index into the pack: those tokens, each once."""


def lay_out(lengths: np.ndarray, shared: int, device: torch.device, taken: np.ndarray | None = None) -> Layout:
    """The layout of a pack of rows with these lengths, in order, whose first `shared` tokens are kept once.

    `taken` is how many tokens of each row are kept elsewhere, `shared` by default: beyond those, the row before it
    has them.
    """
    if len(lengths) == 1:
        return Layout()
    taken = np.full(len(lengths), shared) if taken is None else taken
    own = lengths - taken
    starts = shared + np.concatenate([[0], np.cumsum(own)[:-1]]) - taken  # of each row, were it whole in the pack
    before = np.roll(starts, 1)
    groups: list[Group] = []
    parts: list[list[np.ndarray]] = []
    for members in _group(lengths):
        columns = np.arange(int(lengths[members].max()))
        groups.append(Group(len(members), len(columns)))
        within = np.minimum(columns, lengths[members, None] - 1)
        real = columns < lengths[members, None]
        twin = real & (within >= shared) & (within < taken[members, None])
        start = np.where(within < taken[members, None], before[members, None], starts[members, None])
        parts.append([part.ravel() for part in (within + np.where(within < shared, 0, start), real, twin)])
    gather, real, twin = (np.concatenate(column) for column in zip(*parts, strict=True))
    places, twins = np.flatnonzero(real & ~twin), np.flatnonzero(twin)
    restore = np.empty(shared + int(own.sum()), dtype=np.int64)
    restore[gather[places[::-1]]] = places[::-1]  # backwards: of several copies the first stays
    unread = np.setdiff1d(np.arange(len(gather)), restore)
    copies = (twins, gather[twins]) if len(twins) else ()
    to_device = [torch.from_numpy(part).to(device) for part in (gather, restore, unread, *copies)]
    return Layout(tuple(groups), shared, *to_device)


def _group(lengths: np.ndarray) -> list[np.ndarray]:
    """Row numbers by similar length: all together if that wastes little, else by powers of two."""
    if lengths.max() * len(lengths) <= GROUP_WASTE * lengths.sum():
        return [np.arange(len(lengths))]
    classes = np.ceil(np.log2(lengths)).astype(np.int64)
    return [np.flatnonzero(classes == size) for size in np.unique(classes)]


class _Pad(torch.autograd.Function):
    """(tokens, features) -> (padded, features). Backward is a gather and a sum over the copies, not a slow scatter."""

    @staticmethod
    def forward(ctx: Any, packed: torch.Tensor, layout: Layout) -> torch.Tensor:
        ctx.layout = layout
        assert layout.gather is not None
        return packed.index_select(0, layout.gather)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: torch.Tensor) -> tuple[torch.Tensor, None]:
        layout, (gradient,) = ctx.layout, grad_outputs
        packed = gradient.index_select(0, layout.restore)
        if layout.shared:
            parts = gradient.split([group.rows * group.length for group in layout.groups])
            copies = [
                part.view(group.rows, group.length, -1)[:, : layout.shared].sum(0)
                for group, part in zip(layout.groups, parts, strict=True)
            ]
            packed[: layout.shared] = sum(copies[1:], start=copies[0])
        if layout.twins is not None:
            more = gradient.index_select(0, layout.twins)
            packed.index_copy_(0, layout.twin_of, packed.index_select(0, layout.twin_of).add_(more))
        return packed, None


class _Unpad(torch.autograd.Function):
    """(padded, features) -> (tokens, features); what nothing reads gets a zero gradient."""

    @staticmethod
    def forward(ctx: Any, padded: torch.Tensor, layout: Layout) -> torch.Tensor:
        ctx.layout = layout
        assert layout.restore is not None
        return padded.index_select(0, layout.restore)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: torch.Tensor) -> tuple[torch.Tensor, None]:
        gradient = grad_outputs[0].index_select(0, ctx.layout.gather)
        return gradient.index_fill_(0, ctx.layout.unread, 0), None


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
