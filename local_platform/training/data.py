"""A job's training and evaluation sets, tokenised: rows for supervised fine-tuning, pairs for preference methods."""

import hashlib
import logging
from pathlib import Path

from transformers import AutoTokenizer, PreTrainedTokenizerFast

from local_platform.training.carveout import carve_out, carve_out_pairs
from local_platform.training.examples import Source, read_examples, read_pairs
from local_platform.training.pairs import Pairs
from local_platform.training.progress import Progress
from local_platform.training.render import Renderer
from local_platform.training.rows import Rows
from local_platform.training.samples import LAST_ANSWER, write_samples
from local_platform.training.spec import JobSpec
from pilotlight.errors import FailedPrecondition, InvalidArgument

log = logging.getLogger(__name__)


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
    reader = _Reader(spec, tokenizer, vocabulary, progress)
    training = read_examples(reader.source(spec.dataset_path), reader.renderer, reader.tick)
    evaluation = None
    if spec.evaluation_path is not None:
        evaluation = read_examples(reader.source(spec.evaluation_path), reader.renderer, reader.tick)
    elif spec.eval_auto_carveout:
        training, evaluation = carve_out(training)
    _check_evaluation(spec, missing=evaluation is None)
    write_samples(training, tokenizer, spec.work_directory / "render_samples.jsonl")
    return training, evaluation


def load_pairs(
    spec: JobSpec, tokenizer: PreTrainedTokenizerFast, vocabulary: int, progress: Progress
) -> tuple[Pairs, Pairs | None]:
    """As load_data, of preference rows."""
    reader = _Reader(spec, tokenizer, vocabulary, progress)
    training = read_pairs(reader.source(spec.dataset_path), reader.renderer, reader.tick)
    evaluation = None
    if spec.evaluation_path is not None:
        evaluation = read_pairs(reader.source(spec.evaluation_path), reader.renderer, reader.tick)
    elif spec.eval_auto_carveout:
        training, evaluation = carve_out_pairs(training)
    _check_evaluation(spec, missing=evaluation is None)
    write_samples(training.rows, tokenizer, spec.work_directory / "render_samples.jsonl", LAST_ANSWER)
    return training, evaluation


class _Reader:
    """What reading both files of a job needs."""

    def __init__(self, spec: JobSpec, tokenizer: PreTrainedTokenizerFast, vocabulary: int, progress: Progress) -> None:
        template = spec.jinja_template or str(tokenizer.chat_template)
        depends = f"{spec.base_model_directory}:{template}:{spec.max_context_length}"
        self._key, self._cache = hashlib.sha256(depends.encode()).hexdigest(), spec.work_directory / "cache"
        self._vocabulary, self._progress = vocabulary, progress
        self.renderer = Renderer(tokenizer, spec.jinja_template, spec.max_context_length)

    def source(self, path: Path) -> Source:
        """A file of the job."""
        return Source(path, self._vocabulary, self._cache, self._key)

    def tick(self) -> None:
        """Say that reading goes on."""
        self._progress.tick("Reading the data.")


def _check_evaluation(spec: JobSpec, *, missing: bool) -> None:
    if missing and spec.evaluation_path is None and spec.eval_auto_carveout:
        log.warning("All rows are equal: nothing can be held out, so there is no evaluation")
    if missing and spec.early_stop:
        raise InvalidArgument("Early stopping needs an evaluation dataset or the automatic carve-out.")
