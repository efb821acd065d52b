"""Response bodies of chat and plain completions, whole and in chunks, as the SDK and the openai client read them."""

import secrets
import time
from collections.abc import Sequence
from typing import Any

from local_platform.serving.planning import Prompt, echoed_text
from local_platform.serving.requests import Delta, TokenInfo
from local_platform.serving.vocabulary import Vocabulary
from local_platform.serving.wire import ChatBody, CompletionBody


class Shaper:
    """Shapes the choices of one HTTP request. `begun` is the monotonic time of its arrival."""

    def __init__(
        self, vocabulary: Vocabulary, body: ChatBody | CompletionBody, model: str, prompts: Sequence[Prompt]
    ) -> None:
        self._vocabulary = vocabulary
        self._body = body
        self._model = model
        self._prompts = prompts
        self._chat = isinstance(body, ChatBody)
        self._id = ("chatcmpl-" if self._chat else "cmpl-") + secrets.token_hex(12)
        self._created = int(time.time())
        self._begun = time.monotonic()
        self._first: float | None = None
        self._sampled = 0
        self._echo = [echoed_text(vocabulary, body, prompt) for prompt in prompts]
        self._started: set[int] = set()

    def whole(self, deltas: Sequence[Delta]) -> dict[str, Any]:
        """The complete response from one full delta per choice."""
        self._note(deltas)
        choices = [self._choice(delta) for delta in sorted(deltas, key=lambda delta: delta.index)]
        kind = "chat.completion" if self._chat else "text_completion"
        return self._envelope(kind, choices) | {"usage": self._usage()} | self._metrics()

    def chunk(self, delta: Delta, *, last: bool) -> dict[str, Any]:
        """One event of a stream; the last one carries the usage [P85]."""
        self._note([delta])
        choice = self._choice(delta, partial=True)
        kind = "chat.completion.chunk" if self._chat else "text_completion"
        end = {"usage": self._usage()} | self._metrics() if last else {"usage": None}
        return self._envelope(kind, [choice]) | end

    def usage_chunk(self) -> dict[str, Any]:
        """What OpenAI's `stream_options.include_usage` adds."""
        kind = "chat.completion.chunk" if self._chat else "text_completion"
        return self._envelope(kind, []) | {"usage": self._usage()}

    def headers(self) -> dict[str, str]:
        """Metrics of a complete response, as the documented headers."""
        return {f"fireworks-{name}": str(value) for name, value in self._measured().items()}

    def _note(self, deltas: Sequence[Delta]) -> None:
        self._sampled += sum(delta.sampled for delta in deltas)
        self._first = self._first or time.monotonic()

    def _envelope(self, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {"id": self._id, "object": kind, "created": self._created, "model": self._model, "choices": choices}

    def _usage(self) -> dict[str, Any]:
        prompt = sum(len(prompt.ids) for prompt in self._prompts)
        return {
            "prompt_tokens": prompt,
            "completion_tokens": self._sampled,
            "total_tokens": prompt + self._sampled,
            "prompt_tokens_details": {"cached_tokens": 0},
        }

    def _measured(self) -> dict[str, float]:
        return {
            "prompt-tokens": sum(len(prompt.ids) for prompt in self._prompts),
            "cached-prompt-tokens": 0,
            "server-time-to-first-token": round((self._first or self._begun) - self._begun, 6),
            "server-processing-time": round(time.monotonic() - self._begun, 6),
        }

    def _metrics(self) -> dict[str, Any]:
        return {"perf_metrics": self._measured()} if self._body.perf_metrics_in_response else {}

    def _choice(self, delta: Delta, *, partial: bool = False) -> dict[str, Any]:
        place = delta.index // self._body.n
        opens = delta.index not in self._started
        self._started.add(delta.index)
        prompt, echo = self._prompts[place], self._echo[place]
        text = (echo if opens else "") + delta.text
        choice: dict[str, Any] = {"index": delta.index}
        if not self._chat:
            choice["text"] = text
        elif partial:
            choice["delta"] = ({"role": "assistant"} if opens else {}) | {"content": text}
        else:
            choice["message"] = {"role": "assistant", "content": text}
        choice["finish_reason"] = delta.finish_reason
        choice["logprobs"] = self._logprobs(delta, echo)
        if self._body.return_token_ids:
            choice["token_ids"] = [token.id for token in delta.tokens]
            choice |= {"prompt_token_ids": prompt.ids} if opens else {}
        if self._body.raw_output and not partial:
            choice["raw_output"] = {
                "prompt_fragments": [prompt.text],
                "prompt_token_ids": prompt.ids,
                "completion": delta.text,
                "completion_token_ids": [token.id for token in delta.tokens],
            }
        return choice

    def _logprobs(self, delta: Delta, echo: str) -> dict[str, Any] | None:
        if self._body.alternatives is None:
            return None
        tokens = [*delta.prompt_tokens, *delta.tokens]
        offsets: list[int] = []
        at = 0
        for token in delta.prompt_tokens:
            offsets.append(at)
            at += len(token.text)
        offsets += [len(echo) + token.offset for token in delta.tokens]
        return self._legacy(tokens, offsets) if self._body.legacy_logprobs else self._modern(tokens, offsets)

    def _legacy(self, tokens: list[TokenInfo], offsets: list[int]) -> dict[str, Any]:
        spell = self._vocabulary.token_text
        return {
            "tokens": [token.text for token in tokens],
            "token_logprobs": [token.logprob for token in tokens],
            # The chosen token is always among them: up to k + 1 entries.
            "top_logprobs": [
                None
                if token.logprob is None
                else {spell(other): value for other, value in token.top} | {token.text: token.logprob}
                for token in tokens
            ],
            "text_offset": offsets,
            "token_ids": [token.id for token in tokens],
        }

    def _modern(self, tokens: list[TokenInfo], offsets: list[int]) -> dict[str, Any]:
        return {
            "content": [
                self._spelled(token.id, token.logprob)
                | {"text_offset": offset, "top_logprobs": [self._spelled(*other) for other in token.top]}
                for token, offset in zip(tokens, offsets, strict=True)
            ],
            "refusal": None,
        }

    def _spelled(self, token: int, logprob: float | None) -> dict[str, Any]:
        text, spelling = self._vocabulary.token_text(token), list(self._vocabulary.token_bytes(token))
        return {"token": text, "token_id": token, "logprob": logprob, "bytes": spelling}
