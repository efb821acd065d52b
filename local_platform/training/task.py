"""What a job's method trains on and measures: the loop's objective and evaluation, made from the job's data."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from transformers import PreTrainedTokenizerFast

from local_platform.training.clock import Clock
from local_platform.training.data import load_data, load_pairs
from local_platform.training.evaluation import Evaluator
from local_platform.training.forward import Network
from local_platform.training.objective import CrossEntropy, Examination, Objective
from local_platform.training.packing import Budget
from local_platform.training.pairs import Pairs
from local_platform.training.preference import (
    PreferenceEvaluator,
    PreferenceLoss,
    PreferenceObjective,
    reading_passes,
)
from local_platform.training.progress import Progress
from local_platform.training.reference import Reference
from local_platform.training.spec import JobSpec

LoadTask = Callable[[Network, Clock], "Task"]
"""The second half of making a task: what needs the model, as it is before its first step."""


class Task(NamedTuple):
    """What the loop works on. `rows` and `held_out` count rows or pairs, for the log."""

    objective: Objective
    evaluator: Examination | None
    rows: int
    held_out: int


def read_task(
    spec: JobSpec, tokenizer: PreTrainedTokenizerFast, vocabulary: int, progress: Progress, budget: Budget
) -> LoadTask:
    """Read and check the data, which costs little, before the model is made ready; then call the result."""
    if spec.method == "SFT":
        rows, held_out = load_data(spec, tokenizer, vocabulary, progress)

        def finish(network: Network, clock: Clock) -> Task:
            evaluator = Evaluator(held_out, budget, network.device) if held_out is not None else None
            objective = CrossEntropy(rows, network.device.device)
            return Task(objective, evaluator, len(rows), len(held_out) if held_out is not None else 0)

        return finish
    pairs, held_out_pairs = load_pairs(spec, tokenizer, vocabulary, progress)
    return lambda network, clock: _preference_task(spec, pairs, held_out_pairs, progress, budget, network, clock)


def _preference_task(
    spec: JobSpec,
    pairs: Pairs,
    held_out: Pairs | None,
    progress: Progress,
    budget: Budget,
    network: Network,
    clock: Clock,
) -> Task:
    reference = Reference(spec, network, clock)

    def loss(of: Pairs) -> PreferenceLoss:
        assert spec.method != "SFT"
        values: np.ndarray | None = None
        if spec.method == "DPO":
            text = "Reading the reference model: {} of " + f"{len(of)} pairs."
            passes = reading_passes(of, budget, spec.reference_batch_pairs)
            values = reference.likelihoods(of, passes, lambda done: progress.tick(text.format(done)))
        return PreferenceLoss(spec.method, spec.beta, of, values)

    evaluator = PreferenceEvaluator(loss(held_out), budget) if held_out is not None else None
    return Task(PreferenceObjective(loss(pairs)), evaluator, len(pairs), len(held_out) if held_out is not None else 0)
