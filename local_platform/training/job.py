"""A job from its specification to the published adapter."""

import hashlib
import logging
from contextlib import closing

from transformers import AutoTokenizer, PreTrainedTokenizerFast

from local_platform.training.carveout import carve_out
from local_platform.training.checkpoint import load_checkpoint, save_checkpoint
from local_platform.training.evaluation import Evaluator
from local_platform.training.examples import Source, read_examples
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
from local_platform.training.render import Renderer
from local_platform.training.rows import Rows
from local_platform.training.samples import write_samples
from local_platform.training.signals import StopSignal
from local_platform.training.spec import JobSpec
from pilotlight.errors import FailedPrecondition, InvalidArgument

log = logging.getLogger(__name__)


def run_job(spec: JobSpec, progress: Progress, stop: StopSignal) -> None:
    """Train and publish. Writes the final state; raises PilotlightError for what cannot be done, Stopped on SIGTERM."""
    progress.write("RUNNING", "Loading the model.")
    device = choose_device(spec)
    prepare_process(spec, device)
    base = load_base(spec, device)
    tokenizer = load_tokenizer(spec)
    progress.write("RUNNING", "Reading the data.")
    training, evaluation = load_data(spec, tokenizer, vocabulary_size(base), progress)
    model = add_adapter(base, spec)
    budget = Budget(spec.batch_size, spec.batch_size_samples)
    plan = Plan(training.lengths, budget, spec.gradient_accumulation_steps, spec.epochs, spec.seed)
    evaluator = Evaluator(evaluation, budget, device) if evaluation is not None else None
    loop = Loop(spec, device, model, training, plan, evaluator)
    log.info(
        "%d training rows, %d evaluation rows, %d steps, %d adapter parameters, %s %s, %d threads",
        len(training),
        len(evaluation) if evaluation is not None else 0,
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
    finish(loop, progress, early=stopped)
    log.info("%s", progress.read()["message"])


def finish(loop: Loop, progress: Progress, *, early: bool) -> None:
    """Write the final state. The evaluation loss is that of the published adapter."""
    position = loop.position
    if position.best_loss is not None:
        progress.numbers.eval_loss = position.best_loss
    progress.numbers.eta_seconds = 0.0
    if early:
        message = f"Stopped early: the last epoch did not improve the evaluation loss of step {position.best_step}."
        progress.write("EARLY_STOPPED", message)
    else:
        progress.numbers.percent = 100.0
        kept = f" The adapter of step {position.best_step} was the best." if loop.best is not None else ""
        progress.write("COMPLETED", f"Trained {position.step} steps.{kept}")


def load_tokenizer(spec: JobSpec) -> PreTrainedTokenizerFast:
    """The base model's tokenizer. Raises FailedPrecondition when the folder has none that is fast."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(spec.base_model_directory, local_files_only=True)
    except (OSError, ValueError) as error:
        raise FailedPrecondition(f"The base model's tokenizer cannot be loaded: {error}") from error
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise FailedPrecondition("The base model has no tokenizer.json, which training needs.")
    return tokenizer


def load_data(
    spec: JobSpec, tokenizer: PreTrainedTokenizerFast, vocabulary: int, progress: Progress
) -> tuple[Rows, Rows | None]:
    """(training rows, evaluation rows or None); also writes the render samples of the training rows."""
    renderer = Renderer(tokenizer, spec.jinja_template, spec.max_context_length)
    template = spec.jinja_template or str(tokenizer.chat_template)
    key = hashlib.sha256(f"{spec.base_model_directory}:{template}:{spec.max_context_length}".encode()).hexdigest()

    def read(path_is_evaluation: bool) -> Rows:
        path = spec.evaluation_path if path_is_evaluation else spec.dataset_path
        assert path is not None
        source = Source(path, vocabulary, spec.work_directory / "cache", key)
        return read_examples(source, renderer, lambda: progress.tick("Reading the data."))

    training = read(False)
    evaluation = read(True) if spec.evaluation_path is not None else None
    if evaluation is None and spec.eval_auto_carveout:
        training, evaluation = carve_out(training)
        if evaluation is None:
            log.warning("All rows are equal: nothing can be held out, so there is no evaluation")
    if spec.early_stop and evaluation is None:
        raise InvalidArgument("Early stopping needs an evaluation dataset or the automatic carve-out.")
    write_samples(training, tokenizer, spec.work_directory / "render_samples.jsonl")
    return training, evaluation
