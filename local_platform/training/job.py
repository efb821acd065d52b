"""A job from its specification to the published adapter."""

import logging
from contextlib import closing

from local_platform.training.checkpoint import load_checkpoint, save_checkpoint
from local_platform.training.clock import Clock
from local_platform.training.data import load_tokenizer
from local_platform.training.files import write_json
from local_platform.training.forward import build_network
from local_platform.training.loop import Loop, Outputs
from local_platform.training.model import (
    add_adapter,
    choose_device,
    load_base,
    prepare_process,
    save_adapter,
    vocabulary_size,
)
from local_platform.training.packing import Budget, Plan
from local_platform.training.progress import Metrics, Progress
from local_platform.training.signals import StopSignal
from local_platform.training.spec import JobSpec
from local_platform.training.task import read_task

log = logging.getLogger(__name__)
HELDOUT_FILE, MOST_ROWS = "heldout_losses.json", 10_000
"""Loss by held-out row, to compare models row by row; where there are more, means tell enough."""


def run_job(spec: JobSpec, progress: Progress, stop: StopSignal) -> None:
    """Train and publish. Writes the final state; raises PilotlightError for what cannot be done, Stopped on SIGTERM."""
    progress.write("RUNNING", "Loading the model.")
    device = choose_device(spec)
    prepare_process(spec, device)
    base = load_base(spec, device)
    tokenizer = load_tokenizer(spec)
    progress.write("RUNNING", "Reading the data.")
    budget = Budget(spec.batch_size, spec.batch_size_samples)
    load_task = read_task(spec, tokenizer, vocabulary_size(base), progress, budget)
    model, clock = add_adapter(base, spec), Clock()
    network = build_network(model, device)
    task = load_task(network, clock)
    plan = Plan(task.objective.lengths, budget, spec.gradient_accumulation_steps, spec.epochs, spec.seed)
    loop = Loop(spec, network, task.objective, plan, task.evaluator, clock)
    log.info(
        "%s: %d training rows, %d evaluation rows, %d steps, %d adapter parameters, %s %s, %d threads",
        spec.method,
        task.rows,
        task.held_out,
        loop.total,
        model.num_parameters(only_trainable=True),
        device.device,
        device.dtype,
        spec.threads,
    )
    digest, folder = spec.digest(), spec.work_directory / "checkpoints"
    if checkpoint := load_checkpoint(folder, digest):
        log.info("Going on from the checkpoint at step %d", checkpoint.position.step)
        loop.restore(checkpoint)
    with closing(Metrics(spec.work_directory / "metrics.jsonl", loop.position.metrics_bytes)) as metrics:
        stopped = loop.run(Outputs(progress, metrics, lambda c: save_checkpoint(folder, digest, c)), stop)
    save_adapter(model, loop.result(), spec.base_model_directory, spec.output_directory)
    if 0 < len((losses := loop.heldout_losses()).get("tokens", [])) <= MOST_ROWS:
        write_json(spec.work_directory / HELDOUT_FILE, losses)
    finish(loop, progress, early=stopped)
    log.info("%s", progress.read()["message"])


def finish(loop: Loop, progress: Progress, *, early: bool) -> None:
    """Write the final state. Evaluation loss and measures are those of the published adapter."""
    position = loop.position
    if position.best_loss is not None:
        progress.numbers.eval_loss = position.best_loss
        progress.numbers.measures |= {"eval": position.best_measures} if position.best_measures else {}
    progress.numbers.eta_seconds = 0.0
    if early:
        message = f"Stopped early: the last epoch did not improve the evaluation loss of step {position.best_step}."
        progress.write("EARLY_STOPPED", message)
    else:
        progress.numbers.percent = 100.0
        kept = f" The adapter of step {position.best_step} was the best." if loop.best is not None else ""
        progress.write("COMPLETED", f"Trained {position.step} steps.{kept}")
