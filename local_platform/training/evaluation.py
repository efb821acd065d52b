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
        self._counted, self._sums = counted, np.zeros(len(rows))

    @torch.no_grad()
    def measure(self, network: Network, check: Callable[[], None]) -> dict[str, float]:
        """`loss`: the mean over all trained tokens. `check` is called between passes and may raise to stop."""
        network.layers.eval()
        count = 0
        self._sums[:] = 0.0
        for chosen in self._passes:
            check()
            pack = build_pack(self._source, chosen, self._device)
            losses = network.losses(pack).double().cpu().numpy()
            np.add.at(self._sums, chosen[pack.row.cpu().numpy()], losses)
            count += len(losses)
        network.layers.train()
        return {"loss": float(self._sums.sum()) / count}

    def by_row(self) -> list[float]:
        """See Examination."""
        return [round(float(loss), 6) for loss in self._sums[self._counted]]

    def trained_tokens(self) -> list[int]:
        """See Examination."""
        return [int(count) for count in self._source.trained_counts[self._counted]]
