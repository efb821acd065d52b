"""One sequence inside the engine: what it was asked, what it has produced, and what it still has to tell its client."""

import random

import torch
from torch import Tensor

from local_platform.serving.requests import Delta, FinishReason, GenerateRequest, Sampling, TokenInfo
from local_platform.serving.stopping import StopWatch
from local_platform.serving.vocabulary import TextStream, Vocabulary


class Row:
    """Mutable state of one request. Touched by the engine thread only, except `cancelled`, which is only ever set."""

    def __init__(self, index: int, request: GenerateRequest, vocabulary: Vocabulary, ends: frozenset[int]) -> None:
        self.index = index
        self.request = request
        self.sampling: Sampling = request.sampling
        self.random = random.Random(request.sampling.seed)
        self.prompt_ids = request.prompt_ids
        self.output_ids: list[int] = []
        self.cancelled = False
        self.finish_reason: FinishReason | None = None
        self._vocabulary = vocabulary
        self._ends = frozenset[int]() if request.ignore_eos else ends
        self._text = TextStream(vocabulary)
        self._stops = StopWatch(request.stop)
        self._assembled = 0
        self._released = 0
        self._held: list[TokenInfo] = []
        self._delta = Delta(index)

    @property
    def last_token(self) -> int:
        """The newest token, which the cache does not hold yet."""
        return self.output_ids[-1]

    @property
    def done(self) -> bool:
        """Whether the row may leave the batch."""
        return self.cancelled or self.finish_reason is not None

    def note_prompt(self, logits: Tensor, first: int) -> None:
        """Prompt log-probabilities from float32 [columns, vocabulary]; column 0 is position `first` (< 0: padding)."""
        start = self.request.prompt_logprobs_from
        if start is None:
            return
        prompt = self.prompt_ids
        if start == 0 and not self._delta.prompt_tokens:
            self._delta.prompt_tokens.append(TokenInfo(prompt[0], self._vocabulary.token_text(prompt[0]), 0))
        lowest = max(start - 1, first, 0)
        highest = min(first + logits.shape[0], len(prompt) - 1)
        if highest <= lowest:
            return
        table = logits[lowest - first : highest - first].log_softmax(dim=-1)
        for line, position in zip(table, range(lowest + 1, highest + 1), strict=True):
            text = self._vocabulary.token_text(prompt[position])
            self._delta.prompt_tokens.append(self._measure(prompt[position], text, position, line))

    def accept(self, token: int, logprobs: Tensor | None) -> None:
        """Append a chosen token; `logprobs` is float32 [vocabulary] when the request wants them."""
        self.output_ids.append(token)
        self._delta.sampled += 1
        if token in self._ends:
            return self._finish("stop")
        self._held.append(self._measure(token, self._vocabulary.token_text(token), self._assembled, logprobs))
        self._show(self._text.push(token))
        if self._stops.stopped:
            self.finish_reason = "stop"
        elif len(self.output_ids) >= self.request.max_tokens:
            self._finish("length")
        return None

    def end_without_output(self) -> None:
        """For requests with max_tokens 0."""
        self.finish_reason = "length"

    def take(self) -> Delta | None:
        """What the client should get now, if anything."""
        delta = self._delta
        news = delta.text or delta.tokens or delta.prompt_tokens
        if self.finish_reason is None and not (news and self.request.incremental):
            return None
        delta.finish_reason = self.finish_reason
        self._delta = Delta(self.index)
        return delta

    def _finish(self, reason: FinishReason) -> None:
        self._show(self._text.flush(), final=True)
        # The flushed text may complete a stop string: then that is why it ends.
        self.finish_reason = "stop" if self._stops.stopped else reason

    def _show(self, text: str, *, final: bool = False) -> None:
        self._assembled += len(text)
        released = self._stops.feed(text, final=final)
        self._delta.text += released
        self._released += len(released)
        complete = final and not self._stops.stopped
        ready = [token for token in self._held if complete or token.offset < self._released]
        self._delta.tokens += ready
        self._held = self._held[len(ready) :]

    def _measure(self, token: int, text: str, offset: int, logprobs: Tensor | None) -> TokenInfo:
        if logprobs is None:
            return TokenInfo(token, text, offset)
        top: list[tuple[int, float]] = []
        if self.request.top_logprobs:
            values, ids = torch.topk(logprobs, min(self.request.top_logprobs, logprobs.shape[0]))
            top = list(zip(ids.tolist(), values.tolist(), strict=True))
        return TokenInfo(token, text, offset, float(logprobs[token]), top)
