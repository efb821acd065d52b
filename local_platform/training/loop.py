"""The training loop: plain AdamW on the adapter, a linear schedule, evaluation, early stop, checkpoints.

What is minimised is the objective's business. Its parts add up over all passes of a step: accumulating passes equals
one large pass, packed rows equal single ones.
"""

import bisect
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from local_platform.training.checkpoint import Checkpoint, Position, Tensors
from local_platform.training.clock import Clock, Stopwatch
from local_platform.training.forward import Network
from local_platform.training.model import adapter_state, load_adapter_state, trainable
from local_platform.training.objective import Examination, Measures, Objective
from local_platform.training.packing import Plan
from local_platform.training.progress import Metrics, Progress
from local_platform.training.schedule import learning_rate
from local_platform.training.signals import Stopped, StopSignal
from local_platform.training.spec import JobSpec
from pilotlight.errors import FailedPrecondition

log = logging.getLogger(__name__)

MAX_GRADIENT_NORM = 1.0
CHECKPOINT_SECONDS = 30.0
"""Between checkpoints when the job sets no interval."""


@dataclass(frozen=True)
class Outputs:
    """Where the loop reports to."""

    progress: Progress
    metrics: Metrics
    save: Callable[[Checkpoint], None]


class Loop:
    """One run over the training set. Make it, `restore` it if there is a checkpoint, then `run` it."""

    def __init__(
        self,
        spec: JobSpec,
        network: Network,
        objective: Objective,
        plan: Plan,
        evaluator: Examination | None,
        clock: Clock | None = None,
    ) -> None:
        self._spec, self._network, self._objective, self._plan = spec, network, objective, plan
        self._model, self._evaluator = network.model, evaluator
        self._parameters = trainable(network.model)
        self._optimizer = torch.optim.AdamW(
            self._parameters, lr=spec.learning_rate, weight_decay=spec.optimizer_weight_decay, fused=True
        )
        self._ends = plan.epoch_ends()
        self._total_tokens = plan.total_tokens()
        self._epoch_plan: tuple[int, list[list[np.ndarray]]] = (-1, [])
        self._clock = clock or Clock()
        self.position = Position()
        self.best: Tensors | None = None

    @property
    def total(self) -> int:
        """Optimizer steps of the whole run."""
        return self._ends[-1]

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint."""
        load_adapter_state(self._model, checkpoint.adapter)
        self._optimizer.load_state_dict(checkpoint.optimizer)
        self.position, self.best = checkpoint.position, checkpoint.best

    def snapshot(self, metrics: Metrics) -> Checkpoint:
        """The run as it is between two steps."""
        self.position.metrics_bytes = metrics.position()
        return Checkpoint(self.position, adapter_state(self._model), self.best, self._optimizer.state_dict())

    def run(self, outputs: Outputs, stop: StopSignal) -> bool:
        """Train to the end; True when it was an early stop. On SIGTERM: saves, then raises Stopped."""
        stop.defer()
        self._network.layers.train()
        self._report(outputs.progress)
        saved_at = time.monotonic()
        try:
            while True:
                if self._evaluation_due():
                    self._evaluate(outputs, stop)
                if self.position.step in self._ends and self._epoch_was_in_vain():
                    return True
                if self.position.step == self.total:
                    return False
                if self._checkpoint_due(saved_at):
                    outputs.save(self.snapshot(outputs.metrics))
                    saved_at = time.monotonic()
                stop.check()
                self._step(outputs)
        except Stopped:
            outputs.save(self.snapshot(outputs.metrics))
            raise

    def result(self) -> Tensors:
        """The adapter to publish: the best by evaluation loss, or the last when nothing was evaluated."""
        return self.best if self.best is not None else adapter_state(self._model)

    def heldout_losses(self) -> dict[str, list[float] | list[int]]:
        """By held-out row: `tokens` that carry loss, and their summed loss under the `base` and the `tuned` model."""
        if self._evaluator is None or not self.position.best_rows or not self.position.base_rows:
            return {}
        tokens = self._evaluator.trained_tokens()
        return {"tokens": tokens, "base": self.position.base_rows, "tuned": self.position.best_rows}

    def _step(self, outputs: Outputs) -> None:
        position, started = self.position, Stopwatch()
        passes = self._passes(position.step)
        rate = learning_rate(position.step, self.total, self._spec.learning_rate_warmup_steps, self._spec.learning_rate)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        loss, measures = self._accumulate(passes)
        norm = torch.nn.utils.clip_grad_norm_(self._parameters, MAX_GRADIENT_NORM).item()
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise FailedPrecondition(
                f"Training diverged: the loss is not a finite number at step {position.step + 1}.",
                hint="Use a lower learning rate.",
            )
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        tokens = sum(int(self._objective.lengths[chosen].sum()) for chosen in passes)
        position.step, position.loss, position.measures = position.step + 1, loss, measures
        position.tokens += tokens
        position.trained_tokens += sum(int(self._objective.trained_counts[chosen].sum()) for chosen in passes)
        self._clock.trained(tokens, started)
        outputs.metrics.add(
            {
                "step": position.step,
                "epoch": round(self._epoch(), 6),
                "loss": loss,
                **measures,
                "learningRate": rate,
                "gradientNorm": norm,
                "tokens": position.tokens,
            }
        )
        self._report(outputs.progress)

    def _accumulate(self, passes: list[np.ndarray]) -> tuple[float, Measures]:
        """The gradients of all passes; returns the step's loss and its other measures."""
        divisor, loss, measures = self._objective.divisor(passes), 0.0, Measures()
        for chosen in passes:
            share = self._objective.share(self._network, chosen, divisor)
            torch.autograd.backward(share.loss)
            loss += share.loss.item()
            measures = {name: measures.get(name, 0.0) + value for name, value in share.measures.items()}
        return loss, measures

    def _passes(self, step: int) -> list[np.ndarray]:
        """The passes of the step that comes after `step` finished ones."""
        epoch = bisect.bisect_right(self._ends, step)
        first = [0, *self._ends][epoch]
        if self._epoch_plan[0] != epoch:
            self._epoch_plan = epoch, self._plan.epoch_steps(epoch)
        if step == first:
            self.position.record_before = self.position.record
        return self._epoch_plan[1][step - first]

    def _epoch(self) -> float:
        """Epochs done, as a fraction."""
        step = self.position.step
        epoch = bisect.bisect_left(self._ends, step)
        start = [0, *self._ends][epoch]
        share = min(1.0, self._spec.epochs - epoch)
        return epoch + share * (step - start) / (self._ends[epoch] - start)

    def _evaluation_due(self) -> bool:
        step, every = self.position.step, self._spec.eval_interval_steps
        wanted = step == 0 or step in self._ends or (every is not None and step % every == 0)
        return self._evaluator is not None and wanted and self.position.evaluated_step < step

    def _evaluate(self, outputs: Outputs, stop: StopSignal) -> None:
        """Measure, note, and keep the adapter if it is the best so far. Step 0 is the base model itself."""
        assert self._evaluator is not None
        position, started = self.position, Stopwatch()
        row: dict[str, float] = {"step": position.step, "epoch": round(self._epoch(), 6)}

        def check() -> None:
            stop.check()
            outputs.progress.tick("Evaluating.")

        measured = shown = self._evaluator.measure(self._network, check)
        loss = measured["loss"]
        if position.step == 0 and self._spec.warm_start_directory is not None:
            with self._model.disable_adapter():
                shown = self._evaluator.measure(self._network, check)
            row |= _prefixed("warmStartEval", measured)
        row |= _prefixed("eval", shown)
        others = {name: value for name, value in shown.items() if name != "loss"}
        if position.step == 0:
            position.base_measures, position.base_rows = others, self._evaluator.by_row()
        elif position.best_loss is None or loss < position.best_loss:
            position.best_loss, position.best_step, self.best = loss, position.step, adapter_state(self._model)
            position.best_measures, position.best_rows = others, self._evaluator.by_row()
        if position.step in self._ends:
            position.epoch_losses[f"{self._epoch():g}"] = loss
        position.record = loss if position.record is None else min(position.record, loss)
        position.eval_loss, position.evaluated_step, position.eval_measures = shown["loss"], position.step, others
        outputs.metrics.add(row)
        log.info("step %d: evaluation loss %.6f", position.step, loss)
        self._clock.evaluated(started)
        self._report(outputs.progress)

    def _epoch_was_in_vain(self) -> bool:
        """Whether early stop is asked for and the epoch that just ended improved nothing."""
        position = self.position
        return self._spec.early_stop and position.step > 0 and position.record == position.record_before

    def _checkpoint_due(self, saved_at: float) -> bool:
        every = self._spec.checkpoint_interval_steps
        if every is not None:
            return self.position.step > 0 and self.position.step % every == 0
        return time.monotonic() - saved_at >= CHECKPOINT_SECONDS

    def _report(self, progress: Progress) -> None:
        position, numbers = self.position, progress.numbers
        numbers.step, numbers.total_steps, numbers.epoch = position.step, self.total, self._epoch()
        numbers.percent = 100 * position.tokens / self._total_tokens
        numbers.loss, numbers.eval_loss = position.loss, position.eval_loss
        numbers.measures, numbers.epoch_losses = position.shown_measures(), position.epoch_losses
        numbers.tokens, numbers.trained_tokens = position.tokens, position.trained_tokens
        numbers.eta_seconds = self._clock.remaining(self._total_tokens - position.tokens, self._evaluations_left())
        numbers.speed = self._clock.speed(self._evaluator.tokens if self._evaluator else 0)
        progress.tick()

    def _evaluations_left(self) -> int:
        if self._evaluator is None:
            return 0
        every, step = self._spec.eval_interval_steps, self.position.step
        periodic = set(range(every, self.total, every)) if every else set[int]()
        return sum(end > step for end in periodic | set(self._ends))


def _prefixed(prefix: str, measures: Measures) -> Measures:
    """`loss` as `evalLoss`."""
    return {f"{prefix}{name[:1].upper()}{name[1:]}": value for name, value in measures.items()}
