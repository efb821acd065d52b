"""One forward pass: the loss of each trained token of a pack."""

import torch
from torch.nn.functional import cross_entropy

from local_platform.training.model import Device
from local_platform.training.packing import Pack


def pack_losses(model: torch.nn.Module, pack: Pack, device: Device) -> torch.Tensor:
    """(L,) float32 cross-entropies, unweighted. The head runs on the L predicting places only."""
    with torch.autocast("cuda", torch.bfloat16, enabled=device.gpu and device.dtype == torch.bfloat16):
        logits = model(
            input_ids=pack.ids,
            position_ids=pack.positions,
            layout=pack.layout,
            logits_to_keep=pack.predicting,
            use_cache=False,
        ).logits
    return cross_entropy(logits[0].float(), pack.targets, reduction="none")
