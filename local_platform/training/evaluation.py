"""Evaluation loss: the mean cross-entropy per trained token over a whole set."""

from collections.abc import Callable

import numpy as np
import torch

from local_platform.training.forward import Network
from local_platform.training.model import Device
from local_platform.training.packing import Budget, build_pack, fill
from local_platform.training.rows import Rows

MIN_TOKENS = 2048
"""Evaluation keeps no activations, so small training batches need not bind it."""


class Evaluator:
    """One evaluation set. Message weights choose the tokens; rows of negative weight show what not to
    say and are left out; all others count alike."""

    def __init__(self, rows: Rows, budget: Budget, device: Device) -> None:
        counted = np.flatnonzero(rows.weights > 0)
        tokens = max(budget.tokens if budget.rows is None else 0, MIN_TOKENS)
        self._source, self._device = rows, device.device
        self._passes = fill(rows.lengths, counted, Budget(tokens))
        self.rows = len(counted)
        self.tokens = int(rows.lengths[counted].sum())

    @torch.no_grad()
    def measure(self, network: Network, check: Callable[[], None]) -> dict[str, float]:
        """`loss`: the mean over all trained tokens. `check` is called between passes and may raise to stop."""
        network.layers.eval()
        total, count = 0.0, 0
        for chosen in self._passes:
            check()
            losses = network.losses(build_pack(self._source, chosen, self._device))
            total += losses.double().sum().item()
            count += losses.numel()
        network.layers.train()
        return {"loss": total / count}
