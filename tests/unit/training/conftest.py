"""A real, tiny, random Qwen3, and jobs on it."""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from local_platform.training.spec import JobSpec
from tests.fixtures.training import END, SpecMaker, byte_tokenizer, colours, progress_of, write_rows


@pytest.fixture(scope="session")
def base_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint folder: two layers of width 64, context 512."""
    directory = tmp_path_factory.mktemp("base")
    tokenizer = byte_tokenizer()
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        initializer_range=0.1,
        eos_token_id=END,
        pad_token_id=END + 1,
    )
    Qwen3ForCausalLM(config).save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    return byte_tokenizer()


@pytest.fixture
def make_spec(base_directory: Path, tmp_path: Path) -> SpecMaker:
    """A spec with a work directory of its own and small defaults."""

    def make(name: str = "job", rows: list[dict[str, Any]] | None = None, **fields: Any) -> JobSpec:
        work = tmp_path / name
        work.mkdir(exist_ok=True)
        defaults: dict[str, Any] = {
            "job": name,
            "base_model_directory": base_directory,
            "lora_alpha_ratio": 16.0,
            "dataset_path": write_rows(tmp_path / f"{name}.jsonl", rows if rows is not None else colours(24)),
            "output_directory": tmp_path / f"{name}-adapter",
            "work_directory": work,
            "learning_rate": 1e-3,
            "batch_size": 256,
            "max_context_length": 512,
            "device": "cpu",
        }
        spec = JobSpec(**(defaults | fields))
        (work / "spec.json").write_text(spec.model_dump_json())
        return spec

    return make


@pytest.fixture
def run() -> Iterator[Callable[[JobSpec], dict[str, Any]]]:
    """Runs a job in this process and returns its progress; the process's SIGTERM handler is put back after."""
    from local_platform.training.job import run_job
    from local_platform.training.progress import Progress
    from local_platform.training.signals import StopSignal

    before = signal.getsignal(signal.SIGTERM)

    def run_spec(spec: JobSpec) -> dict[str, Any]:
        run_job(spec, Progress(spec.work_directory / "progress.json"), StopSignal())
        return progress_of(spec)

    yield run_spec
    signal.signal(signal.SIGTERM, before)
