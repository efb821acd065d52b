"""Losses over preference pairs: DPO and ORPO, and what is reported of them.

DPO (Rafailov et al. 2023): -log sigmoid(r+ - r-), where an answer's reward r is beta times what its log-probability
has gained over that under the reference model. ORPO (Hong et al. 2024): the preferred answer's mean negative
log-probability per token, plus beta times -log sigmoid of the log odds ratio of both answers; no reference model.
Sums of log-probabilities are float64: rewards are small differences between large sums.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch.nn.functional import logsigmoid

from local_platform.training.evaluation import MIN_TOKENS
from local_platform.training.forward import Network
from local_platform.training.objective import Measures, Share
from local_platform.training.packing import Budget, fill
from local_platform.training.pairs import Pairs, answer_likelihoods

TIE = 1e-3
"""Answers whose log-probabilities differ by less than this many nats are ties: such differences are rounding."""
_CERTAIN = -1e-9
"""The largest mean log-probability that odds are taken of: the odds of certainty are infinite."""


class Terms(NamedTuple):
    """Of each pair: its loss (n,), the rewards of both answers (n, 2), and how far the first is ahead, in nats (n,)."""

    losses: torch.Tensor
    rewards: torch.Tensor
    ahead: torch.Tensor


def dpo_terms(policy: torch.Tensor, reference: torch.Tensor, beta: float) -> Terms:
    """From the (n, 2) summed log-probabilities of both answers under both models."""
    gained = policy - reference
    ahead = gained[:, 0] - gained[:, 1]
    return Terms(-logsigmoid(beta * ahead), beta * gained, ahead)


def orpo_terms(policy: torch.Tensor, counts: torch.Tensor, beta: float) -> Terms:
    """From the (n, 2) summed log-probabilities of both answers and their (n, 2) lengths in tokens."""
    mean = (policy / counts).clamp(max=_CERTAIN)
    odds = mean - torch.log(-torch.expm1(mean))
    ratio = logsigmoid(odds[:, 0] - odds[:, 1])
    return Terms(-mean[:, 0] - beta * ratio, beta * mean, policy[:, 0] / counts[:, 0] - policy[:, 1] / counts[:, 1])


@dataclass(frozen=True)
class PreferenceLoss:
    """A method with its strength. `reference` (pairs, 2) is what DPO compares with; ORPO has none."""

    method: Literal["DPO", "ORPO"]
    beta: float
    pairs: Pairs
    reference: np.ndarray | None

    def terms(self, policy: torch.Tensor, chosen: np.ndarray) -> Terms:
        """The terms of the pairs whose (n, 2) log-probabilities are given."""
        if self.method == "ORPO":
            return orpo_terms(policy, _like(policy, self.pairs.counts[chosen]), self.beta)
        assert self.reference is not None
        return dpo_terms(policy, _like(policy, self.reference[chosen]), self.beta)

    def measures(self, terms: Terms, policy: torch.Tensor, chosen: np.ndarray) -> Measures:
        """Sums over the pairs. Accuracies count how often the preferred answer is ahead, ties as a half."""
        means = policy / _like(policy, self.pairs.counts[chosen])
        per_token = TIE / _like(policy, self.pairs.counts[chosen].max(axis=1))
        values = {
            "rewardChosen": terms.rewards[:, 0],
            "rewardRejected": terms.rewards[:, 1],
            "rewardMargin": terms.rewards[:, 0] - terms.rewards[:, 1],
            "rewardAccuracy": _wins(terms.ahead, per_token if self.method == "ORPO" else TIE),
            "preferenceAccuracy": _wins(means[:, 0] - means[:, 1], per_token),
            "logpsChosen": policy[:, 0],
            "logpsRejected": policy[:, 1],
        }
        return {name: value.sum().item() for name, value in values.items()}


class PreferenceObjective:
    """A training set of pairs: the mean over the step's pairs of sample weight times loss."""

    def __init__(self, loss: PreferenceLoss) -> None:
        self._loss, pairs = loss, loss.pairs
        self.lengths, self.trained_counts = pairs.lengths, pairs.trained_counts

    def divisor(self, passes: Sequence[np.ndarray]) -> float:
        """See Objective: the pairs."""
        return float(sum(len(chosen) for chosen in passes))

    def share(self, network: Network, chosen: np.ndarray, divisor: float) -> Share:
        """See Objective."""
        policy = answer_likelihoods(network, self._loss.pairs, chosen)
        terms = self._loss.terms(policy, chosen)
        loss = (terms.losses * _like(policy, self._loss.pairs.weights[chosen])).sum() / divisor
        sums = self._loss.measures(Terms(*(part.detach() for part in terms)), policy.detach(), chosen)
        return Share(loss, {name: value / divisor for name, value in sums.items()})


class PreferenceEvaluator:
    """A held-out set of pairs: means over all of them, which count alike."""

    def __init__(self, loss: PreferenceLoss, budget: Budget) -> None:
        self._loss = loss
        self._passes = reading_passes(loss.pairs, budget)
        self.rows, self.tokens = len(loss.pairs), int(loss.pairs.lengths.sum())

    @torch.no_grad()
    def measure(self, network: Network, check: Callable[[], None]) -> Measures:
        """See Examination."""
        network.layers.eval()
        totals: Measures = {}
        for chosen in self._passes:
            check()
            policy = answer_likelihoods(network, self._loss.pairs, chosen)
            terms = self._loss.terms(policy, chosen)
            sums = {"loss": terms.losses.sum().item()} | self._loss.measures(terms, policy, chosen)
            totals = {name: totals.get(name, 0.0) + value for name, value in sums.items()}
        network.layers.train()
        return {name: total / self.rows for name, total in totals.items()}

    def by_row(self) -> list[float]:
        """See Examination: pairs have none."""
        return []

    def trained_tokens(self) -> list[int]:
        """See Examination."""
        return []


def reading_passes(pairs: Pairs, budget: Budget, count: int | None = None) -> list[np.ndarray]:
    """Passes over all pairs in their order, without gradients, of `count` pairs or as many as are sensible.

    Small training batches need not bind them.
    """
    tokens = max(budget.tokens if budget.rows is None else 0, MIN_TOKENS)
    return fill(pairs.lengths, np.arange(len(pairs)), Budget(tokens, count))


def _wins(ahead: torch.Tensor, tie: torch.Tensor | float) -> torch.Tensor:
    return torch.where(ahead.abs() < tie, 0.5, (ahead > 0).double())


def _like(tensor: torch.Tensor, values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(values)).to(tensor.device, tensor.dtype)
