"""A real, tiny, random Qwen3 with a byte tokenizer, and ways to run the trainer on it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

os.environ["OMP_WAIT_POLICY"] = "passive"
os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from local_platform.training.spec import JobSpec

ROOT = Path(__file__).parents[3]

CHATML = (
    "{%- if tools %}<|im_start|>system\n{{ tools | tojson }}<|im_end|>\n{% endif %}"
    "{%- for message in messages %}"
    "{{- '<|im_start|>' + message.role + '\n' }}"
    "{%- if message.role == 'assistant' %}{% generation %}"
    "{%- if message.reasoning_content %}{{ '<think>' + message.reasoning_content + '</think>' }}{% endif %}"
    "{{- message.content }}"
    "{%- for call in message.tool_calls or [] %}{{ '<tool>' + (call.function | tojson) + '</tool>' }}{% endfor %}"
    "{{- '<|im_end|>' }}{% endgeneration %}"
    "{%- else %}{{ message.content + '<|im_end|>' }}{% endif %}"
    "{{- '\n' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
UNMARKED = CHATML.replace("{% generation %}", "").replace("{% endgeneration %}", "")


END = 257
"""Id of the end-of-turn token."""


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """One token per byte and four special ones."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={letter: i for i, letter in enumerate(letters)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer.decoder = decoders.ByteLevel()  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer.add_special_tokens(["<|im_start|>", "<|im_end|>", "<|endoftext|>"])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>", model_max_length=512
    )
    fast.chat_template = CHATML
    return fast


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


def chat(user: str, assistant: str, **fields: Any) -> dict[str, Any]:
    """A row of one question and one answer."""
    return {
        "messages": [{"role": "user", "content": user}, {"role": "assistant", "content": assistant}],
        **fields,
    }


def colours(count: int, start: int = 0) -> list[dict[str, Any]]:
    """Rows that a model can learn: the answer follows from the question; lengths vary."""
    names = ["red", "green", "blue", "dark violet"]
    return [chat(f"item {i} " + "x" * (i % 7) + f" {i % 4}?", names[i % 4]) for i in range(start, start + count)]


def write_rows(path: Path, rows: Iterable[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


SpecMaker = Callable[..., JobSpec]


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


def start(spec: JobSpec) -> "subprocess.Popen[bytes]":
    """The trainer as the scheduler starts it."""
    command = [sys.executable, "-m", "local_platform.training", str(spec.work_directory / "spec.json")]
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE)


def progress_of(spec: JobSpec) -> dict[str, Any]:
    return json.loads((spec.work_directory / "progress.json").read_text())


def metrics_of(spec: JobSpec) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (spec.work_directory / "metrics.jsonl").read_text().splitlines()]
