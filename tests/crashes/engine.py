"""A stand-in for the engine that generates: the real tokenizer, and always the same answer, at once."""

from collections.abc import AsyncIterator, Sequence
from functools import lru_cache
from pathlib import Path

from local_platform.serving.interface import Generation, InferenceEngine
from local_platform.serving.requests import Delta, GenerateRequest
from local_platform.serving.targets import EngineKey
from local_platform.serving.vocabulary import Vocabulary

ANSWER = "delivery"


class _Answers:
    """One delta per sequence."""

    def __init__(self, count: int) -> None:
        self._left = list(range(count))

    def __aiter__(self) -> AsyncIterator[Delta]:
        return self

    async def __anext__(self) -> Delta:
        if not self._left:
            raise StopAsyncIteration
        return Delta(self._left.pop(0), ANSWER, sampled=1, finish_reason="stop")

    def cancel(self) -> None:
        """Nothing runs."""


class ScriptedEngine:
    """See local_platform.serving.interface.InferenceEngine."""

    active = 0

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary, self.context_length = vocabulary, 1024
        self._adapters: set[str] = set()

    @property
    def adapters(self) -> frozenset[str]:
        """Names of the loaded adapters."""
        return frozenset(self._adapters)

    def load_adapter(self, name: str, directory: Path) -> None:
        """Its folder must be there."""
        (directory / "adapter_model.safetensors").stat()
        self._adapters.add(name)

    def unload_adapter(self, name: str) -> None:
        """Forget it."""
        self._adapters.discard(name)

    def generate(self, requests: Sequence[GenerateRequest]) -> Generation:
        """Answer all alike."""
        return _Answers(len(requests))

    async def score(
        self, prompt_ids: Sequence[int], continuation_ids: Sequence[int], adapter: str | None = None
    ) -> list[float]:
        """Log-probabilities, all alike."""
        return [-1.0] * len(continuation_ids)

    def close(self) -> None:
        """Nothing to free."""


def open_engine(key: EngineKey) -> InferenceEngine:
    """An engine for any checkpoint; merging wants the adapter's folder to be there."""
    if key.merged_adapter is not None:
        (key.merged_adapter / "adapter_model.safetensors").stat()
    return ScriptedEngine(load_vocabulary(key.base_directory.resolve()))


@lru_cache
def load_vocabulary(directory: Path) -> Vocabulary:
    """Read once, by the nursery, for all platforms that it bears."""
    return Vocabulary(directory)
