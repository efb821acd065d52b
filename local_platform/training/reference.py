"""The reference model's log-probabilities: what DPO compares with, computed once per job and kept beside it.

The reference is the policy as it is before the first step: the base model, which is the model with its adapter
disabled, or on a warm start the adapter that training goes on from. No second model is loaded.
"""

import hashlib
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch

from local_platform.training.clock import Clock, Stopwatch
from local_platform.training.files import replace_file
from local_platform.training.forward import Network
from local_platform.training.pairs import Pairs, answer_likelihoods
from local_platform.training.spec import JobSpec

SAVE_SECONDS = 30.0
"""Between two writes of what is known so far: a killed trainer loses no more than this."""


class Reference:
    """Computes and keeps. Use it before the adapter is trained or restored from a checkpoint."""

    def __init__(self, spec: JobSpec, network: Network, clock: Clock, save_seconds: float = SAVE_SECONDS) -> None:
        self._spec, self._network, self._clock, self._save_seconds = spec, network, clock, save_seconds

    @torch.no_grad()
    def likelihoods(self, pairs: Pairs, passes: list[np.ndarray], check: Callable[[int], None]) -> np.ndarray:
        """(pairs, 2) float64. `passes` go over all pairs in their order.

        `check` is called before each that is still to be made, with the number of pairs read, and may raise to stop.
        """
        path = self._spec.work_directory / "cache" / f"reference-{self._key(pairs)}.npz"
        values, done = _load(path, len(pairs))
        saved, model = time.monotonic(), self._network.model
        self._network.layers.eval()
        with nullcontext() if self._spec.warm_start_directory else model.disable_adapter():
            for chosen in passes:
                if int(chosen[-1]) < done:
                    continue
                check(done)
                watch = Stopwatch()
                values[chosen] = answer_likelihoods(self._network, pairs, chosen).cpu().numpy()
                self._clock.referenced(int(pairs.lengths[chosen].sum()), watch)
                done = int(chosen[-1]) + 1
                if time.monotonic() - saved >= self._save_seconds or done == len(pairs):
                    _save(path, values, done)
                    saved = time.monotonic()
        self._network.layers.train()
        return values

    def _key(self, pairs: Pairs) -> str:
        spec, device = self._spec, self._network.device
        depends = (pairs.digest(), spec.base_model_directory, spec.warm_start_directory, device.dtype)
        return hashlib.sha256(":".join(map(str, depends)).encode()).hexdigest()[:16]


def _load(path: Path, count: int) -> tuple[np.ndarray, int]:
    if not path.exists():
        return np.zeros((count, 2)), 0
    with np.load(path, allow_pickle=False) as arrays:
        return arrays["values"], int(arrays["done"])


def _save(path: Path, values: np.ndarray, done: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replace_file(path) as file:
        np.savez(file, values=values, done=np.int64(done))
