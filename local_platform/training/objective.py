"""What a run minimises and measures: rows or pairs of them, seen by the loop as units of one kind."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np
import torch

from local_platform.training.forward import Network
from local_platform.training.packing import build_pack
from local_platform.training.rows import Rows

Measures = dict[str, float]
"""Numbers by name, in camelCase. Those of an evaluation hold `loss`."""


class Share(NamedTuple):
    """One pass's part of a step: a loss to differentiate, and its part of each measure."""

    loss: torch.Tensor
    measures: Measures


class Objective(Protocol):
    """A training set with its loss. A unit is what is never parted: a row, or a pair."""

    @property
    def lengths(self) -> np.ndarray:
        """(units,) tokens that one unit reads."""
        ...

    @property
    def trained_counts(self) -> np.ndarray:
        """(units,) tokens that carry loss."""
        ...

    def divisor(self, passes: Sequence[np.ndarray]) -> float:
        """What a step of these passes divides its loss by."""
        ...

    def share(self, network: Network, chosen: np.ndarray, divisor: float) -> Share:
        """The part of the pass of these units in its step's loss; parts add up."""
        ...


class Examination(Protocol):
    """An evaluation set with its measures."""

    @property
    def tokens(self) -> int:
        """Tokens that one evaluation reads."""
        ...

    def measure(self, network: Network, check: Callable[[], None]) -> Measures:
        """Measures over the whole set, `loss` among them. `check` is called between passes and may raise to stop."""
        ...

    def by_row(self) -> list[float]:
        """The summed loss of each row at the last measurement; empty where rows have none of their own."""
        ...

    def trained_tokens(self) -> list[int]:
        """The tokens of each row that carry loss, in the same order."""
        ...


class CrossEntropy:
    """Supervised fine-tuning: sample weight times cross-entropy, over the trained tokens of the step."""

    def __init__(self, rows: Rows, device: torch.device) -> None:
        self._rows, self._device = rows, device
        self.lengths, self.trained_counts = rows.lengths, rows.trained_counts

    def divisor(self, passes: Sequence[np.ndarray]) -> float:
        """See Objective: the trained tokens."""
        return float(sum(int(self.trained_counts[chosen].sum()) for chosen in passes))

    def share(self, network: Network, chosen: np.ndarray, divisor: float) -> Share:
        """See Objective."""
        pack = build_pack(self._rows, chosen, self._device)
        return Share((network.losses(pack) * pack.weights).sum() / divisor, {})
