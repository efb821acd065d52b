"""A job's training and evaluation sets, tokenised: rows for supervised fine-tuning, pairs for preference methods."""

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

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
_T = TypeVar("_T")


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
    training, evaluation = _Reader(spec, tokenizer, vocabulary, progress).read_sides(read_examples, carve_out)
    write_samples(training, tokenizer, spec.work_directory / "render_samples.jsonl")
    return training, evaluation


def load_pairs(
    spec: JobSpec, tokenizer: PreTrainedTokenizerFast, vocabulary: int, progress: Progress
) -> tuple[Pairs, Pairs | None]:
    """As load_data, of preference rows."""
    training, evaluation = _Reader(spec, tokenizer, vocabulary, progress).read_sides(read_pairs, carve_out_pairs)
    write_samples(training.rows, tokenizer, spec.work_directory / "render_samples.jsonl", LAST_ANSWER)
    return training, evaluation


class _Reader:
    """What reading both files of a job needs."""

    def __init__(self, spec: JobSpec, tokenizer: PreTrainedTokenizerFast, vocabulary: int, progress: Progress) -> None:
        template = spec.jinja_template or str(tokenizer.chat_template)
        depends = f"{spec.base_model_directory}:{template}:{spec.max_context_length}"
        self._key, self._cache = hashlib.sha256(depends.encode()).hexdigest(), spec.work_directory / "cache"
        self._vocabulary, self._progress = vocabulary, progress
        self._spec, self._renderer = spec, Renderer(tokenizer, spec.jinja_template, spec.max_context_length)

    def read_sides(
        self, read: Callable[[Source, Renderer, Callable[[], None]], _T], carve: Callable[[_T], tuple[_T, _T | None]]
    ) -> tuple[_T, _T | None]:
        """(training, evaluation): from a file of its own, carved out of the training data, or none."""
        training, evaluation = self._read(read, self._spec.dataset_path), None
        if self._spec.evaluation_path is not None:
            evaluation = self._read(read, self._spec.evaluation_path)
        elif self._spec.eval_auto_carveout:
            training, evaluation = carve(training)
        _check_evaluation(self._spec, missing=evaluation is None)
        return training, evaluation

    def _read(self, read: Callable[[Source, Renderer, Callable[[], None]], _T], path: Path) -> _T:
        return read(Source(path, self._vocabulary, self._cache, self._key), self._renderer, self._tick)

    def _tick(self) -> None:
        """Say that reading goes on."""
        self._progress.tick("Reading the data.")


def _check_evaluation(spec: JobSpec, *, missing: bool) -> None:
    if missing and spec.evaluation_path is None and spec.eval_auto_carveout:
        log.warning("All rows are equal: nothing can be held out, so there is no evaluation")
    if missing and spec.early_stop:
        raise InvalidArgument("Early stopping needs an evaluation dataset or the automatic carve-out.")
