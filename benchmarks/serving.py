"""Batched serving against one request after another, on the same model, prompts and machine, in one run.

    python -m benchmarks.serving [--model DIRECTORY] [--requests 32] [--tokens 32] [--rounds 3]

One-by-one is transformers' own `generate` in a loop; batched is our engine with all requests waiting at once. Both are
greedy, on one thread, must produce the same tokens, and take turns so that a busy machine hits both alike. Mixed is
the same with a quarter of the rows on the base and the rest on three adapters. CPU seconds are of the whole process.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from local_platform.serving.engine import LocalEngine
from local_platform.serving.requests import GenerateRequest, Sampling

import torch  # isort: skip  (after local_platform.serving, which sets OpenMP up)
from peft import LoraConfig, get_peft_model  # isort: skip
from transformers import AutoModelForCausalLM  # isort: skip

SHIPPED = Path(__file__).parents[1] / "local_platform" / "basemodels" / "data" / "ember-1m"
ADAPTERS = ("one", "two", "three")
Outputs = list[list[int]]


def main() -> None:
    """Print tokens per second of each way, and the ratios."""
    options = _options()
    torch.set_num_threads(1)
    engine = LocalEngine(options.model, "cpu")
    plain: Any = AutoModelForCausalLM.from_pretrained(options.model, dtype=torch.float32).eval()
    plain.generation_config.eos_token_id = None
    requests = [_request(engine, place, options.tokens) for place in range(options.requests)]
    with tempfile.TemporaryDirectory() as folder:
        for seed, name in enumerate(ADAPTERS):
            engine.load_adapter(name, _random_adapter(options.model, Path(folder) / name, seed))
    mixed = [replace(request, adapter=(None, *ADAPTERS)[place % 4]) for place, request in enumerate(requests)]
    ways: dict[str, Callable[[], Outputs]] = {
        "one by one (generate)": lambda: _one_by_one(plain, requests),
        "one by one (engine)": lambda: [_batched(engine, [request])[0] for request in requests],
        "batched, base": lambda: _batched(engine, requests),
        "batched, base + 3 adapters": lambda: _batched(engine, mixed),
    }
    outputs = {name: run() for name, run in ways.items()}  # also the warm-up
    first, second, third, _ = outputs.values()
    assert first == second == third, "the ways disagree about the tokens"
    _report(options, _measure(ways, options.rounds))
    engine.close()


def _report(options: argparse.Namespace, seconds: dict[str, tuple[float, float]]) -> None:
    total = options.requests * options.tokens
    print(
        f"{options.model.name}: {options.requests} requests x {options.tokens} new tokens, median of {options.rounds}"
    )
    slowest = next(iter(seconds.values()))
    for name, (wall, cpu) in seconds.items():
        print(
            f"{name:28} {total / wall:8.0f} tokens/s  {total / cpu:8.0f} tokens/cpu-s"
            f"  x{slowest[0] / wall:5.2f} wall  x{slowest[1] / cpu:5.2f} cpu"
        )


def _measure(ways: dict[str, Callable[[], Outputs]], rounds: int) -> dict[str, tuple[float, float]]:
    """Median (wall, CPU) seconds per way, interleaved."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, run in ways.items():
            wall, cpu = time.perf_counter(), time.process_time()
            run()
            times[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    return {
        name: (statistics.median(wall for wall, _ in runs), statistics.median(cpu for _, cpu in runs))
        for name, runs in times.items()
    }


def _request(engine: LocalEngine, place: int, tokens: int) -> GenerateRequest:
    text = f"Which team should answer ticket {place}: " + "my parcel has not arrived yet. " * (1 + place % 5)
    ids = tuple(engine.vocabulary.encode(text))
    return GenerateRequest(
        ids, tokens, None, Sampling(temperature=0), ignore_eos=True, top_logprobs=0, incremental=False
    )


def _one_by_one(model: Any, requests: Sequence[GenerateRequest]) -> Outputs:
    found: Outputs = []
    for request in requests:
        prompt = torch.tensor([request.prompt_ids])
        output = model.generate(prompt, max_new_tokens=request.max_tokens, do_sample=False, pad_token_id=0)
        found.append(output[0, prompt.shape[1] :].tolist())
    return found


def _batched(engine: LocalEngine, requests: Sequence[GenerateRequest]) -> Outputs:
    async def collect() -> Outputs:
        deltas = [delta async for delta in engine.generate(requests)]
        return [[token.id for token in delta.tokens] for delta in sorted(deltas, key=lambda delta: delta.index)]

    return asyncio.run(collect())


def _random_adapter(base: Path, directory: Path, seed: int) -> Path:
    torch.manual_seed(seed)
    config = LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", init_lora_weights=False)
    model: Any = get_peft_model(AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), config)
    model.save_pretrained(directory)
    return directory


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=SHIPPED)
    parser.add_argument("--requests", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


if __name__ == "__main__":
    main()
