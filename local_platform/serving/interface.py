"""The contract between the HTTP routes and whatever generates tokens.

`LocalEngine` (engine.py) implements it in this process. On a GPU the same contract fits a vLLM subprocess:
`load_adapter` is its `/v1/load_lora_adapter`, `generate` its streaming completions on token IDs with
`model=<adapter>`, `score` a completion with `prompt_logprobs` and `max_tokens=1`. That implementation is not built:
it was never run here.
"""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Protocol

from local_platform.serving.requests import Delta, GenerateRequest
from local_platform.serving.vocabulary import Vocabulary


class Generation(Protocol):
    """A running generation: iterate it for deltas; it ends after the last sequence finished."""

    def __aiter__(self) -> AsyncIterator[Delta]: ...

    async def __anext__(self) -> Delta:
        """The next delta, of any index. Raises Internal when the engine failed, StopAsyncIteration at the end."""
        ...

    def cancel(self) -> None:
        """Free the slots of all unfinished sequences before the next step. Idempotent, from any thread."""
        ...


class InferenceEngine(Protocol):
    """One base model with any number of adapters. Methods without `async` are safe from any thread."""

    vocabulary: Vocabulary
    context_length: int

    @property
    def active(self) -> int:
        """Sequences that wait or run now."""
        ...

    @property
    def adapters(self) -> frozenset[str]:
        """Names of the loaded adapters."""
        ...

    def load_adapter(self, name: str, directory: Path) -> None:
        """Load a PEFT folder while serving; blocks. Same name and folder: nothing happens. Raises AdapterFailed."""
        ...

    def unload_adapter(self, name: str) -> None:
        """Refuse new requests for it at once; its memory goes when its last request has ended. Raises NotFound."""
        ...

    def generate(self, requests: Sequence[GenerateRequest]) -> Generation:
        """Enqueue all sequences or none; delta.index is the position in `requests`. Call from a running event loop.

        Raises InvalidArgument, NotFound (adapter), ResourceExhausted (queue full), Unavailable (closed or failed).
        """
        ...

    async def score(
        self, prompt_ids: Sequence[int], continuation_ids: Sequence[int], adapter: str | None = None
    ) -> list[float]:
        """Log-probability of each continuation token given all before it: one prefill, nothing is generated."""
        ...

    def close(self) -> None:
        """Stop; unfinished generations raise Unavailable. Idempotent."""
        ...
