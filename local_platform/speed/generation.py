"""`python -m local_platform.speed.generation CHECKPOINT`: new tokens per second of a full batch, as one JSON line.

A process of its own, so that the platform does not carry the model of a measurement.
"""

import asyncio
import json
import sys
import time
from pathlib import Path

from local_platform.serving.engine import LocalEngine
from local_platform.serving.requests import GenerateRequest, Sampling
from local_platform.speed.machine import accelerator

ROWS, PROMPT_TOKENS, NEW_TOKENS = 16, 64, 32


async def measure(engine: LocalEngine) -> float:
    """New tokens per second over ROWS requests at once, after one warm-up request."""
    await _generate(engine, 1, 4)
    # On a processor with one thread, its own time is what the wall time would be alone on the machine.
    clock = time.process_time if accelerator() == "CPU" else time.monotonic
    started = clock()
    tokens = await _generate(engine, ROWS, NEW_TOKENS)
    return tokens / (clock() - started)


async def _generate(engine: LocalEngine, rows: int, new_tokens: int) -> int:
    prompt = tuple(range(10, 10 + PROMPT_TOKENS))
    request = GenerateRequest(prompt, new_tokens, sampling=Sampling(temperature=0.0), ignore_eos=True)
    generation = engine.generate([request] * rows)
    async for _ in generation:
        pass
    return rows * new_tokens


def main(directory: str) -> None:
    """Measure and print."""
    engine = LocalEngine(Path(directory))
    try:
        speed = asyncio.run(measure(engine))
    finally:
        engine.close()
    sys.stdout.write(json.dumps({"generateTokensPerSecond": round(speed, 2)}) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
