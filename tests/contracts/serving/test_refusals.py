"""Every refusal has its status, the inference error shape, and words that help."""

from typing import Any

import fireworks
import httpx
import openai
import pytest

BASE = "accounts/acme/models/base"
CHAT: dict[str, Any] = {"model": BASE, "messages": [{"role": "user", "content": "hello"}], "max_tokens": 2}
TEXT: dict[str, Any] = {"model": BASE, "prompt": "hello", "max_tokens": 2}


def post(served: Any, path: str, body: Any, key: str = "good") -> httpx.Response:
    return served.client.post(path, json=body, headers={"Authorization": f"Bearer {key}"})


CHAT_CASES: list[tuple[dict[str, Any], str]] = [
    ({"no_such_field": 1}, "unknown field 'no_such_field'"),
    ({"messages": []}, "messages"),
    ({"messages": "hello"}, "messages"),
    ({"messages": [{"content": "who?"}]}, "messages.0.role"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}, "image_url"),
    ({"messages": [{"role": "user", "content": "x", "weight": 1}]}, "weight"),
    ({"model": ""}, "model"),
    ({"model": None}, "model"),
    ({"temperature": 2.5}, "temperature"),
    ({"temperature": -0.1}, "temperature"),
    ({"top_p": 1.5}, "top_p"),
    ({"top_k": -1}, "top_k"),
    ({"min_p": 1.5}, "min_p"),
    ({"n": 0}, "n:"),
    ({"n": 129}, "n:"),
    ({"max_tokens": -1}, "max_tokens"),
    ({"max_tokens": 5, "max_completion_tokens": 5}, "give one of them"),
    ({"max_tokens": 2000, "context_length_exceeded_behavior": "error"}, "context length"),
    ({"context_length_exceeded_behavior": "shrug"}, "context_length_exceeded_behavior"),
    ({"messages": [{"role": "user", "content": "hello " * 2000}]}, "too long"),
    ({"frequency_penalty": 3}, "frequency_penalty"),
    ({"presence_penalty": -3}, "presence_penalty"),
    ({"repetition_penalty": 3}, "repetition_penalty"),
    ({"logit_bias": {"5": 200}}, "between -100 and 100"),
    ({"logit_bias": {"hello": 1}}, "logit_bias"),
    ({"logit_bias": {"999999": 1}}, "vocabulary"),
    ({"logprobs": 1000}, "logprobs"),
    ({"logprobs": True, "top_logprobs": 1000}, "top_logprobs"),
    ({"top_logprobs": 3}, "needs logprobs"),
    ({"stop": ["a", "b", "c", "d", "e"]}, "up to 4"),
    ({"stop": ""}, "none of them empty"),
    ({"response_format": {"type": "json_schema", "json_schema": {}}}, "'json_schema' needs constrained decoding"),
    ({"response_format": {"type": "json_object"}}, "constrained decoding"),
    ({"tools": [{"type": "function", "function": {"name": "f"}}], "tool_choice": "required"}, "tool_choice"),
    ({"functions": [{"name": "f"}]}, "use tools"),
    ({"typical_p": 0.5}, "typical_p"),
    ({"mirostat_target": 3.0}, "mirostat_target"),
    ({"stream_options": {"odd": True}}, "stream_options.odd"),
]


@pytest.mark.parametrize(("change", "text"), CHAT_CASES)
@pytest.mark.parametrize("stream", [False, True])
def test_bad_chat_requests(served: Any, change: dict[str, Any], text: str, stream: bool) -> None:
    check(post(served, "/inference/v1/chat/completions", CHAT | change | {"stream": stream}), 400, text)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"prompt": ""}, "empty"),
        ({"prompt": []}, "empty"),
        ({"prompt": ["hello", ""]}, "empty"),
        ({"prompt": [[5], []]}, "empty"),
        ({"prompt": [99999]}, "vocabulary"),
        ({"prompt": [-1]}, "prompt"),
        ({"prompt": {"text": "hello"}}, "prompt"),
        ({"images": ["x"]}, "images"),
        ({"suffix": "x"}, "suffix"),
        ({"prompt": "hello " * 2000}, "too long"),
    ],
)
def test_bad_completion_requests(served: Any, change: dict[str, Any], text: str) -> None:
    check(post(served, "/v1/completions", TEXT | change), 400, text)


def test_broken_json(served: Any) -> None:
    headers = {"Authorization": "Bearer good", "Content-Type": "application/json"}
    response = served.client.post("/v1/chat/completions", content=b'{"model": ', headers=headers)
    check(response, 400, "JSON")


@pytest.mark.parametrize(
    ("model", "status", "code"),
    [
        ("accounts/acme/models/absent", 404, "NOT_FOUND"),
        ("accounts/acme/deployments/asleep", 503, "DEPLOYMENT_SCALING_UP"),
        ("accounts/acme/models/broken", 412, "ADAPTER_LOAD_FAILED"),
    ],
)
def test_models_that_cannot_answer(served: Any, model: str, status: int, code: str) -> None:
    for path, body in (("/v1/chat/completions", CHAT), ("/inference/v1/completions", TEXT)):
        response = post(served, path, body | {"model": model})
        check(response, status, "")
        assert response.json()["error"]["code"] == code


def test_wrong_key(served: Any) -> None:
    response = post(served, "/v1/chat/completions", CHAT, key="bad")
    check(response, 401, "API key")
    assert response.json()["error"]["type"] == "authentication_error"


def test_too_many_choices_at_once_are_429_and_take_no_slot(served: Any) -> None:
    response = post(served, "/v1/completions", TEXT | {"prompt": ["hello"] * 5, "n": 128})
    check(response, 429, "saturated")
    assert served.active == 0


def test_clients_raise_their_typed_errors(served: Any) -> None:
    with openai.OpenAI(base_url=f"{served.url}/inference/v1", api_key="good", max_retries=0) as typed:
        client: Any = typed
        with pytest.raises(openai.NotFoundError) as caught:
            client.chat.completions.create(**CHAT | {"model": "accounts/acme/models/absent"})
        assert caught.value.code == "NOT_FOUND"
        with pytest.raises(openai.BadRequestError, match="temperature"):
            client.chat.completions.create(**CHAT, temperature=9)
    sdk: Any = fireworks.Fireworks(base_url=served.url, api_key="bad", account_id="acme", max_retries=0)
    with sdk, pytest.raises(fireworks.AuthenticationError):
        sdk.chat.completions.create(**CHAT)


def check(response: httpx.Response, status: int, text: str) -> None:
    assert response.status_code == status, response.text
    body = response.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"message", "code", "type"}
    assert text in body["error"]["message"]
