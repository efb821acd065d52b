"""Muon in fp32: momentum, then each matrix's update is made nearly orthogonal by a Newton-Schulz iteration.

PyTorch's own class iterates in bfloat16, which CPUs without bf16 units emulate several times slower.
"""

from collections.abc import Iterable

import torch

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""The published quintic: steep at zero, so that five rounds bring all singular values near one."""
_ROUNDS = 5


class Muon:
    """For 2-D parameters only. `param_groups[0]["lr"]` is the learning rate, as in torch's optimizers."""

    def __init__(
        self, matrices: Iterable[torch.nn.Parameter], lr: float, momentum: float = 0.95, weight_decay: float = 0.1
    ) -> None:
        self.matrices = list(matrices)
        self.momentum, self.weight_decay = momentum, weight_decay
        self.param_groups = [{"lr": lr}]
        self._velocities = [torch.zeros_like(matrix) for matrix in self.matrices]

    @torch.no_grad()
    def step(self) -> None:
        """Apply one update from the gradients, with Nesterov momentum."""
        rate = self.param_groups[0]["lr"]
        for matrix, velocity in zip(self.matrices, self._velocities, strict=True):
            if matrix.grad is None:
                continue
            velocity.lerp_(matrix.grad, 1 - self.momentum)
            update = orthogonalise(matrix.grad.lerp(velocity, self.momentum))
            matrix.mul_(1 - rate * self.weight_decay)
            matrix.add_(update, alpha=-rate * max(1.0, matrix.shape[0] / matrix.shape[1]) ** 0.5)

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for matrix in self.matrices:
            matrix.grad = None


def orthogonalise(matrix: torch.Tensor) -> torch.Tensor:
    """The nearly orthogonal matrix with the same singular vectors; shape kept."""
    a, b, c = _COEFFICIENTS
    is_tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if is_tall else matrix
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(_ROUNDS):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if is_tall else x
