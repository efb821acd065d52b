"""The official SDK and the openai client, unchanged, over a socket: sync, async, streamed."""

import asyncio
from collections.abc import Iterator
from typing import Any

import fireworks
import openai
import pytest

BASE = "accounts/acme/models/base"
TUNED = "accounts/acme/models/tuned#accounts/acme/deployments/base"
MERGED = "accounts/acme/deployments/merged"
MESSAGES: Any = [{"role": "system", "content": "tiny"}, {"role": "user", "content": "hello world"}]
GREEDY: Any = {"messages": MESSAGES, "temperature": 0, "max_tokens": 24}


@pytest.fixture(scope="module")
def clients(served: Any) -> Iterator[dict[str, Any]]:
    with (
        openai.OpenAI(base_url=f"{served.url}/inference/v1", api_key="good", max_retries=0) as one,
        fireworks.Fireworks(base_url=served.url, api_key="good", account_id="acme", max_retries=0) as two,
    ):
        yield {"openai": one, "fireworks": two}


both = pytest.mark.parametrize("kind", ["openai", "fireworks"])


@both
def test_chat(clients: dict[str, Any], kind: str) -> None:
    answer = clients[kind].chat.completions.create(model=BASE, **GREEDY)
    (choice,) = answer.choices
    assert (choice.message.role, choice.finish_reason, answer.model) == ("assistant", "length", BASE)
    assert answer.object == "chat.completion"
    assert len(choice.message.content) > 10
    usage = answer.usage
    assert usage.completion_tokens == 24
    assert usage.total_tokens == usage.prompt_tokens + 24


@both
@pytest.mark.parametrize("model", [BASE, TUNED, MERGED])
def test_stream_equals_whole(clients: dict[str, Any], kind: str, model: str) -> None:
    create = clients[kind].chat.completions.create
    whole = create(model=model, **GREEDY, logprobs=True, top_logprobs=3)
    chunks = list(create(model=model, **GREEDY, logprobs=True, top_logprobs=3, stream=True))
    assert len(chunks) > 5
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == whole.choices[0].message.content
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None] * (len(chunks) - 1) + ["length"]
    assert [chunk.usage for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert chunks[-1].usage == whole.usage
    streamed = [entry for chunk in chunks for entry in chunk.choices[0].logprobs.content]
    expected = whole.choices[0].logprobs.content
    assert [(e.token, e.bytes) for e in streamed] == [(e.token, e.bytes) for e in expected]
    assert [e.logprob for e in streamed] == pytest.approx([e.logprob for e in expected], abs=1e-4)
    assert [[o.token for o in e.top_logprobs] for e in streamed] == [
        [o.token for o in e.top_logprobs] for e in expected
    ]


def test_adapter_and_merge_agree_and_differ_from_base(clients: dict[str, Any]) -> None:
    texts = [clients["openai"].chat.completions.create(model=m, **GREEDY) for m in (BASE, TUNED, MERGED)]
    base, tuned, merged = (answer.choices[0].message.content for answer in texts)
    assert tuned == merged != base


def test_openai_usage_chunk(clients: dict[str, Any]) -> None:
    stream = clients["openai"].chat.completions.create(
        model=BASE, **GREEDY, stream=True, stream_options={"include_usage": True}
    )
    last = list(stream)[-1]
    assert last.choices == []
    assert last.usage.completion_tokens == 24


@both
def test_choices_and_seed(clients: dict[str, Any], kind: str) -> None:
    def texts(seed: int, n: int) -> list[str]:
        answer = clients[kind].chat.completions.create(model=BASE, messages=MESSAGES, max_tokens=16, seed=seed, n=n)
        assert [choice.index for choice in answer.choices] == list(range(n))
        return [choice.message.content for choice in answer.choices]

    first = texts(7, 3)
    assert len(set(first)) == 3
    assert texts(7, 3) == first
    assert texts(7, 1) == first[:1]
    assert texts(8, 3) != first


@both
def test_streamed_choices(clients: dict[str, Any], kind: str) -> None:
    create = clients[kind].chat.completions.create
    wanted: Any = {"model": BASE, "messages": MESSAGES, "max_tokens": 12, "seed": 3, "n": 3}
    whole = [choice.message.content for choice in create(**wanted).choices]
    streamed = ["", "", ""]
    for chunk in create(**wanted, stream=True):
        for choice in chunk.choices:
            streamed[choice.index] += choice.delta.content or ""
    assert streamed == whole


@both
def test_stop(clients: dict[str, Any], kind: str) -> None:
    create = clients[kind].chat.completions.create
    text = create(model=BASE, **GREEDY).choices[0].message.content
    stop = text[6:9]
    (choice,) = create(model=BASE, **GREEDY, stop=[stop, "never there"]).choices
    assert (choice.message.content, choice.finish_reason) == (text[: text.index(stop)], "stop")
    streamed = list(create(model=BASE, **GREEDY, stop=stop, stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in streamed) == text[: text.index(stop)]


@both
def test_completions_echo_scores_the_prompt(clients: dict[str, Any], kind: str) -> None:
    """The way to classify without generating: no new token, log-probabilities of the prompt."""
    create = clients[kind].completions.create
    (choice,) = create(model=TUNED, prompt="hello tiny world", max_tokens=0, echo=True, logprobs=2).choices
    logprobs = choice.logprobs
    assert choice.text == "hello tiny world" == "".join(logprobs.tokens)
    assert logprobs.token_logprobs[0] is None
    assert all(value < 0 for value in logprobs.token_logprobs[1:])
    assert logprobs.text_offset[:2] == [0, len(logprobs.tokens[0])]
    assert all(len(top) in (2, 3) for top in logprobs.top_logprobs[1:])


def test_completions_of_many_prompts(clients: dict[str, Any]) -> None:
    create = clients["openai"].completions.create
    wanted: Any = {"model": BASE, "max_tokens": 8, "temperature": 0}
    alone = [create(prompt=prompt, **wanted).choices[0].text for prompt in ("hello", "tiny corpus of")]
    together = create(prompt=["hello", "tiny corpus of"], n=2, **wanted)
    assert [choice.text for choice in together.choices] == [alone[0]] * 2 + [alone[1]] * 2
    assert together.usage.completion_tokens == 32
    tokens = clients["fireworks"].completions.create(
        model=BASE, prompt="hello", return_token_ids=True, max_tokens=1, echo=True
    )
    by_ids = create(prompt=tokens.choices[0].prompt_token_ids, **wanted)
    assert by_ids.choices[0].text == alone[0]


def test_completion_stream_ends_with_usage(clients: dict[str, Any]) -> None:
    chunks = list(
        clients["fireworks"].completions.create(model=BASE, prompt="hello", max_tokens=5, stream=True, seed=1)
    )
    assert (chunks[-1].choices[0].finish_reason, chunks[-1].usage.completion_tokens) == ("length", 5)


def test_max_tokens_is_lowered_to_the_context(clients: dict[str, Any]) -> None:
    answer = clients["openai"].chat.completions.create(
        model=MERGED, messages=MESSAGES, max_tokens=5000, extra_body={"ignore_eos": True}
    )
    assert answer.usage.total_tokens == 100


def test_tools_reach_the_prompt(clients: dict[str, Any]) -> None:
    tools: Any = [{"type": "function", "function": {"name": "find", "parameters": {"type": "object"}}}]
    create = clients["fireworks"].chat.completions.create
    answer = create(model=BASE, messages=MESSAGES, max_tokens=1, tools=tools, raw_output=True)
    assert '"name": "find"' in answer.choices[0].raw_output.prompt_fragments[0]
    silent = create(model=BASE, messages=MESSAGES, max_tokens=1, tools=tools, tool_choice="none", raw_output=True)
    assert "find" not in silent.choices[0].raw_output.prompt_fragments[0]


def test_text_parts_and_truncation_of_old_messages(clients: dict[str, Any]) -> None:
    long: Any = [{"role": "user", "content": "hello " * 40}, {"role": "assistant", "content": "tiny"}]
    parts: Any = [{"type": "text", "text": "hello "}, {"type": "text", "text": "world"}]
    messages: Any = [MESSAGES[0], *long, {"role": "user", "content": parts}]
    create = clients["fireworks"].chat.completions.create
    cut = create(model=BASE, messages=messages, max_tokens=1, prompt_truncate_len=60, raw_output=True)
    plain = create(model=BASE, messages=MESSAGES, max_tokens=1, raw_output=True)
    fragment = cut.choices[0].raw_output.prompt_fragments[0]
    assert "hello hello" not in fragment
    assert fragment.endswith(plain.choices[0].raw_output.prompt_fragments[0].split("<|im_start|>user")[1])


def test_models_lists_what_is_deployed(clients: dict[str, Any]) -> None:
    (model,) = clients["openai"].models.list()
    assert (model.id, model.object, model.owned_by) == (BASE, "model", "acme")


@both
def test_async_clients(served: Any, clients: dict[str, Any], kind: str) -> None:
    expected = clients[kind].chat.completions.create(model=BASE, **GREEDY).choices[0].message.content

    async def scenario() -> tuple[str, str]:
        client: Any = (
            openai.AsyncOpenAI(base_url=f"{served.url}/v1", api_key="good")
            if kind == "openai"
            else fireworks.AsyncFireworks(base_url=served.url, api_key="good", account_id="acme")
        )
        async with client:
            whole = await client.chat.completions.create(model=BASE, **GREEDY)
            stream = await client.chat.completions.create(model=BASE, **GREEDY, stream=True)
            streamed = [chunk.choices[0].delta.content or "" async for chunk in stream]
        return whole.choices[0].message.content, "".join(streamed)

    assert asyncio.run(scenario()) == (expected, expected)


def test_metrics_in_headers_and_on_request_in_the_body(clients: dict[str, Any]) -> None:
    create = clients["fireworks"].chat.completions.with_raw_response.create
    response = create(model=BASE, **GREEDY, perf_metrics_in_response=True)
    assert int(response.headers["fireworks-prompt-tokens"]) == response.parse().usage.prompt_tokens
    assert 0 < response.parse().perf_metrics["server-processing-time"] < 60
