"""The training loop: plain AdamW on the adapter, a linear schedule, evaluation, early stop, checkpoints.

The loss of a step is the sum over its trained tokens of sample weight times cross-entropy, divided by the number of
those tokens, over all passes of the step: accumulating passes equals one large pass, packed rows equal single ones.
"""

import bisect
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from peft import PeftModel

from local_platform.training.checkpoint import Checkpoint, Position, Tensors
from local_platform.training.evaluation import Evaluator
from local_platform.training.forward import build_network
from local_platform.training.model import Device, adapter_state, load_adapter_state, trainable
from local_platform.training.packing import Plan, build_pack
from local_platform.training.progress import Metrics, Progress
from local_platform.training.rows import Rows
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
    """One run over the training rows. Make it, `restore` it if there is a checkpoint, then `run` it."""

    def __init__(
        self, spec: JobSpec, device: Device, model: PeftModel, rows: Rows, plan: Plan, evaluator: Evaluator | None
    ) -> None:
        self._spec, self._device, self._model, self._rows, self._plan = spec, device, model, rows, plan
        self._network = build_network(model, device)
        self._evaluator = evaluator
        self._parameters = trainable(model)
        self._optimizer = torch.optim.AdamW(
            self._parameters, lr=spec.learning_rate, weight_decay=spec.optimizer_weight_decay, fused=True
        )
        self._ends = plan.epoch_ends()
        self._total_tokens = plan.total_tokens()
        self._epoch_plan: tuple[int, list[list[np.ndarray]]] = (-1, [])
        self._clock = Clock()
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

    def _step(self, outputs: Outputs) -> None:
        position, started = self.position, Stopwatch()
        passes = self._passes(position.step)
        rate = learning_rate(position.step, self.total, self._spec.learning_rate_warmup_steps, self._spec.learning_rate)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        trained = sum(int(self._rows.trained_counts[chosen].sum()) for chosen in passes)
        loss = sum(self._accumulate(chosen, trained) for chosen in passes)
        norm = torch.nn.utils.clip_grad_norm_(self._parameters, MAX_GRADIENT_NORM).item()
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise FailedPrecondition(
                f"Training diverged: the loss is not a finite number at step {position.step + 1}.",
                hint="Use a lower learning rate.",
            )
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        tokens = sum(int(self._rows.lengths[chosen].sum()) for chosen in passes)
        position.step, position.loss = position.step + 1, loss
        position.tokens, position.trained_tokens = position.tokens + tokens, position.trained_tokens + trained
        self._clock.trained(tokens, started)
        outputs.metrics.add(
            {
                "step": position.step,
                "epoch": round(self._epoch(), 6),
                "loss": loss,
                "learningRate": rate,
                "gradientNorm": norm,
                "tokens": position.tokens,
            }
        )
        self._report(outputs.progress)

    def _accumulate(self, chosen: np.ndarray, trained: int) -> float:
        """Add one pass's share of the step's gradient; returns its share of the step's loss."""
        pack = build_pack(self._rows, chosen, self._device.device)
        losses = self._network.losses(pack)
        share = (losses * pack.weights).sum() / trained
        share.backward()
        return share.item()

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

        loss = self._evaluator.loss(self._network, check)
        if position.step == 0 and self._spec.warm_start_directory is not None:
            with self._model.disable_adapter():
                row |= {"evalLoss": self._evaluator.loss(self._network, check), "warmStartEvalLoss": loss}
        else:
            row["evalLoss"] = loss
        if position.step > 0 and (position.best_loss is None or loss < position.best_loss):
            position.best_loss, position.best_step, self.best = loss, position.step, adapter_state(self._model)
        position.record = loss if position.record is None else min(position.record, loss)
        position.eval_loss, position.evaluated_step = row["evalLoss"], position.step
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


class Stopwatch:
    """Wall and processor seconds since it was made."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.monotonic(), time.process_time()

    def read(self) -> tuple[float, float]:
        """(wall, processor): they differ where others use the machine too."""
        return time.monotonic() - self._wall, time.process_time() - self._cpu


class Clock:
    """Time to the end, from the speed so far in this process."""

    def __init__(self) -> None:
        self._seconds, self._cpu, self._tokens = 0.0, 0.0, 0
        self._evaluation_seconds, self._evaluation_cpu, self._evaluations = 0.0, 0.0, 0

    def trained(self, tokens: int, watch: Stopwatch) -> None:
        """Note a step."""
        seconds, cpu = watch.read()
        self._tokens, self._seconds, self._cpu = self._tokens + tokens, self._seconds + seconds, self._cpu + cpu

    def evaluated(self, watch: Stopwatch) -> None:
        """Note an evaluation."""
        seconds, cpu = watch.read()
        self._evaluations += 1
        self._evaluation_seconds, self._evaluation_cpu = self._evaluation_seconds + seconds, self._evaluation_cpu + cpu

    def speed(self, evaluation_tokens: int) -> dict[str, float]:
        """Tokens and seconds of training and of evaluation; one evaluation reads `evaluation_tokens`."""
        return {
            "trainTokens": self._tokens,
            "trainSeconds": round(self._seconds, 3),
            "trainCpuSeconds": round(self._cpu, 3),
            "evalTokens": self._evaluations * evaluation_tokens,
            "evalSeconds": round(self._evaluation_seconds, 3),
            "evalCpuSeconds": round(self._evaluation_cpu, 3),
        }

    def remaining(self, tokens: int, evaluations: int) -> float | None:
        """Seconds for that many tokens and evaluations; None before the first step."""
        if not self._tokens:
            return None
        each = self._evaluation_seconds / self._evaluations if self._evaluations else 0.0
        return tokens * self._seconds / self._tokens + evaluations * each
