"""Fixtures that several areas share. Nothing heavy is imported before a fixture asks for it."""

import os
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from tests.fixtures.databases import Databases

# The machines that run this are shared: how long an example takes says nothing about the code.
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")

# Before any test imports torch: spinning OpenMP threads on two shared cores slow everything down several times.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A key of whoever runs the tests must not give every session an allowance, nor ever be used.
for _name in ("ANTHROPIC_API_KEY", "PILOTLIGHT_ANTHROPIC_KEY"):
    os.environ.pop(_name, None)

TINY_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if tools %}<|im_start|>tools\n{{ tools | tojson }}<|im_end|>\n{% endif %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.fixture(scope="session")
def _templates() -> Generator[None]:
    from tests.fixtures.databases import drop_template

    yield
    drop_template()


@pytest.fixture
def databases(_templates: None) -> "Generator[Databases]":
    """Control databases of the test's own: SQLite, or PostgreSQL with PILOTLIGHT_TEST_POSTGRES."""
    from tests.fixtures.databases import Databases

    made = Databases()
    yield made
    made.close()


@pytest.fixture(scope="module")
def module_databases(_templates: None) -> "Generator[Databases]":
    """The same for what all tests of a module share."""
    from tests.fixtures.databases import Databases

    made = Databases()
    yield made
    made.close()


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Qwen3 of 0.1M parameters with a byte-level tokenizer and ChatML: answers nonsense, exactly."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(["hello world, a tiny corpus of words: über, naïve, 日本語 🙂"] * 50, trainer)
    fast: Any = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    fast.chat_template = TINY_TEMPLATE
    directory = tmp_path_factory.mktemp("tiny") / "base"
    fast.save_pretrained(directory)
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=len(fast),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        max_position_embeddings=1024,
        tie_word_embeddings=False,
        eos_token_id=fast.eos_token_id,
        initializer_range=0.2,
    )
    Qwen3ForCausalLM(config).save_pretrained(directory)
    return directory


@pytest.fixture(scope="session")
def make_tiny_adapter(tiny_checkpoint: Path) -> Callable[[int, int], Path]:
    """(seed, rank) -> folder of a LoRA adapter with random weights, in PEFT's format; made once per pair."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    def make(seed: int, rank: int) -> Path:
        directory = tiny_checkpoint.parent / f"lora-{seed}-{rank}"
        if not directory.exists():
            torch.manual_seed(seed)
            base = AutoModelForCausalLM.from_pretrained(tiny_checkpoint)
            config = LoraConfig(r=rank, lora_alpha=rank, target_modules="all-linear", init_lora_weights=False)
            get_peft_model(base, config).save_pretrained(str(directory))
        return directory

    return make
