"""From a request body and its prompts to engine requests: defaults, limits, one sequence per choice."""

import secrets
from collections.abc import Sequence
from typing import NamedTuple

from local_platform.serving.prompts import encode_chat
from local_platform.serving.requests import GenerateRequest, Sampling
from local_platform.serving.vocabulary import Vocabulary
from local_platform.serving.wire import CHAT_MAX_TOKENS, COMPLETION_MAX_TOKENS, ChatBody, CompletionBody, GenerationBody
from pilotlight.errors import InvalidArgument


class Prompt(NamedTuple):
    """A prompt as text and as tokens; the text is what `echo` returns."""

    text: str
    ids: list[int]


def read_prompts(vocabulary: Vocabulary, body: ChatBody | CompletionBody, template: str | None) -> list[Prompt]:
    """One prompt for a chat, one per entry for completions. Raises InvalidArgument."""
    if isinstance(body, ChatBody):
        return [Prompt(*encode_chat(vocabulary, body, template))]
    prompts = [
        Prompt(prompt, vocabulary.encode(prompt))
        if isinstance(prompt, str)
        else Prompt(vocabulary.decode(prompt, skip_special=False), prompt)
        for prompt in body.prompts
    ]
    if not prompts or not all(prompt.ids for prompt in prompts):
        raise InvalidArgument("The prompt is empty.")
    return prompts


def plan_requests(
    body: GenerationBody, prompts: Sequence[Prompt], context_length: int, adapter: str | None
) -> list[GenerateRequest]:
    """`n` requests per prompt, prompt by prompt. Raises InvalidArgument when a prompt leaves no room."""
    default = CHAT_MAX_TOKENS if isinstance(body, ChatBody) else COMPLETION_MAX_TOKENS
    seed = secrets.token_hex(8) if body.seed is None else str(body.seed)
    return [
        GenerateRequest(
            prompt_ids=tuple(prompt.ids),
            max_tokens=_fit(body, len(prompt.ids), context_length, default),
            adapter=adapter,
            sampling=_sampling(body, f"{seed}/{place}/{choice}"),
            stop=body.stops,
            ignore_eos=bool(body.ignore_eos),
            top_logprobs=body.alternatives,
            prompt_logprobs_from=_echo_start(body, len(prompt.ids)) if body.alternatives is not None else None,
            incremental=bool(body.stream),
        )
        for place, prompt in enumerate(prompts)
        for choice in range(body.n)
    ]


def echoed_text(vocabulary: Vocabulary, body: GenerationBody, prompt: Prompt) -> str:
    """What `echo` or `echo_last` puts before the completion."""
    start = _echo_start(body, len(prompt.ids))
    if start is None:
        return ""
    return prompt.text if start == 0 else vocabulary.decode(prompt.ids[start:], skip_special=False)


def _echo_start(body: GenerationBody, length: int) -> int | None:
    if body.echo:
        return 0
    return None if body.echo_last is None else max(0, length - body.echo_last)


def _fit(body: GenerationBody, length: int, context_length: int, default: int) -> int:
    wanted = body.wanted_tokens
    room = context_length - length
    if room < (0 if wanted == 0 else 1):
        raise InvalidArgument(
            f"The prompt is too long: {length} tokens, and the model's context length is {context_length}."
        )
    if wanted is not None and wanted > room and body.context_length_exceeded_behavior == "error":
        raise InvalidArgument(
            f"The prompt has {length} tokens and max_tokens is {wanted}: "
            f"more than the context length of {context_length}.",
            hint="Lower max_tokens, or let it be lowered: context_length_exceeded_behavior='truncate'.",
        )
    return min(default if wanted is None else wanted, room)


def _sampling(body: GenerationBody, seed: str) -> Sampling:
    return Sampling(
        temperature=_or(body.temperature, 1.0),
        top_p=_or(body.top_p, 1.0),
        top_k=body.top_k or 0,
        min_p=body.min_p or 0.0,
        repetition_penalty=_or(body.repetition_penalty, 1.0),
        frequency_penalty=body.frequency_penalty or 0.0,
        presence_penalty=body.presence_penalty or 0.0,
        logit_bias=body.logit_bias or {},
        seed=seed,
    )


def _or(value: float | None, default: float) -> float:
    return default if value is None else value
