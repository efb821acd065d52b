"""One engine with three adapters for the whole area, and the plain transformers models it must agree with."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from local_platform.serving.engine import LocalEngine
from local_platform.serving.requests import Delta, GenerateRequest

ADAPTERS = {"one": (11, 4), "two": (12, 8), "three": (13, 16)}
Run = Callable[[LocalEngine, Sequence[GenerateRequest]], list[Delta]]


@pytest.fixture(scope="session")
def adapters(make_tiny_adapter: Callable[[int, int], Path]) -> dict[str, Path]:
    return {name: make_tiny_adapter(*spec) for name, spec in ADAPTERS.items()}


@pytest.fixture(scope="session")
def engine(tiny_checkpoint: Path, adapters: dict[str, Path]) -> Iterator[LocalEngine]:
    engine = LocalEngine(tiny_checkpoint, "cpu")
    for name, directory in adapters.items():
        engine.load_adapter(name, directory)
    yield engine
    engine.close()


@pytest.fixture(scope="session")
def references(tiny_checkpoint: Path, adapters: dict[str, Path]) -> dict[str | None, Any]:
    """Plain models: the base, and the base with each adapter merged in."""
    plain: dict[str | None, Any] = {None: AutoModelForCausalLM.from_pretrained(tiny_checkpoint).eval()}
    for name, directory in adapters.items():
        base = AutoModelForCausalLM.from_pretrained(tiny_checkpoint)
        plain[name] = PeftModel.from_pretrained(base, str(directory)).merge_and_unload().eval()
    for model in plain.values():
        model.requires_grad_(False)
    return plain


@pytest.fixture(scope="session")
def run() -> Run:
    """Run requests to their end; one whole delta per request."""
    return lambda engine, requests: asyncio.run(collect(engine, requests))


async def collect(engine: LocalEngine, requests: Sequence[GenerateRequest]) -> list[Delta]:
    whole: dict[int, Delta] = {}
    async for delta in engine.generate(requests):
        if delta.index in whole:
            whole[delta.index].absorb(delta)
        else:
            whole[delta.index] = delta
    return [whole[index] for index in range(len(requests))]


@pytest.fixture(scope="session")
def continue_greedily() -> Callable[[Any, Sequence[int], int], list[int]]:
    """transformers' own generate, one sequence, ignoring end tokens."""

    def generate(model: Any, prompt: Sequence[int], count: int) -> list[int]:
        model.generation_config.eos_token_id = None
        output = model.generate(torch.tensor([list(prompt)]), max_new_tokens=count, do_sample=False, pad_token_id=0)
        return output[0, len(prompt) :].tolist()

    return generate
