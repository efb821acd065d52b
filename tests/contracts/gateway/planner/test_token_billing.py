"""Inference that the platform bills by the token: held at its worst case, settled to its usage."""

import json
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from starlette.responses import JSONResponse, Response, StreamingResponse

from pilotlight.plan import GrantSpec, Phase, Rule

CHAT, COMPLETION, MESSAGE = "/v1/chat/completions", "/v1/completions", "/v1/messages"
SERVERLESS = "accounts/fireworks/models/big"
DEDICATED = "accounts/acme/deployments/d"
PRICE = Decimal("0.90")


def rule_of(response: httpx.Response) -> str:
    return response.json()["error"]["details"][0]["reason"]


def inference(method: str, **more: Any) -> GrantSpec:
    content = Rule(max_bytes=10_000)
    fields = {"CreateChatCompletion": ["messages"], "CreateCompletion": ["prompt"], "CreateMessage": ["messages"]}
    rules = {
        "body.model": Rule(one_of=[SERVERLESS, DEDICATED]),
        "body.max_tokens": Rule(one_of=[*range(1, 200), None]),
        "body.n": Rule(one_of=[1, 2, None]),
        **{f"body.{name}": content for name in fields[method]},
    }
    values: dict[str, Any] = {"id": "judge", "max_calls": 20, "max_cost": Decimal("0.10")} | more
    return GrantSpec(
        gate="plan_approval", method=method, rules=rules, phase=Phase.EVALUATE, text="judging", **values
    )  # fmt: skip


def body(**more: Any) -> dict[str, Any]:
    values = {"model": SERVERLESS, "max_tokens": 10, "messages": [{"role": "user", "content": "hi"}]} | more
    return {name: value for name, value in values.items() if value is not None}


def most(sent: dict[str, Any], output: int, answers: int = 1) -> int:
    size = len(json.dumps(sent, separators=(",", ":"))) + 2048
    return -int(-(size + output) * answers * PRICE // 1)


@pytest.fixture
def priced(parts: Any) -> Any:
    """The parts with the cloud as the backend, and a price per token in its book."""
    at = parts(backend="fireworks", anthropic_key=SecretStr(""))
    at.gateway.prices.inference_per_million_tokens = PRICE
    return at


def chunks(*usage: dict[str, int], ends: bool = True, breaks: bool = False) -> Response:
    async def write() -> AsyncIterator[bytes]:
        for word in ("one", "two"):
            yield f'data: {{"choices":[{{"delta":{{"content":"{word}"}}}}],"usage":null}}\r\n\r\n'.encode()
        for one in usage:
            half = f"data: {json.dumps({'choices': [], 'usage': one})}\n\n".encode()
            yield half[:20]
            yield half[20:]
        if breaks:
            raise ConnectionResetError
        if ends:
            yield b"data: [DONE]\n\n"

    return StreamingResponse(write(), media_type="text/event-stream")


def test_it_is_held_at_the_worst_case_and_settled_to_the_usage(priced: Any) -> None:
    priced.approve(inference("CreateChatCompletion"))
    usage = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}
    priced.answers.append(JSONResponse({"choices": [], "usage": usage}))
    assert priced.http.post(CHAT, json=body()).status_code == 200
    worst = most(body(), 10)
    assert abs(priced.reservations()[0][1] - worst) <= 1
    assert priced.reservations()[0][2:] == (12, "9 tokens in, 4 out")
    assert priced.cost().so_far == Decimal("0.000012")


@pytest.mark.parametrize(
    ("answer", "known"),
    [
        (lambda: chunks({"prompt_tokens": 9, "completion_tokens": 4}), True),
        (lambda: chunks({"prompt_tokens": 9, "completion_tokens": 4}, ends=False), False),
        (lambda: chunks(), False),
        (lambda: JSONResponse({"choices": []}), False),
        (lambda: JSONResponse({"usage": {"prompt_tokens": 9, "completion_tokens": "4"}}), False),
        (lambda: JSONResponse({"usage": {"prompt_tokens": 9, "completion_tokens": True}}), False),
        (lambda: Response(b"no json", media_type="application/json"), False),
        (lambda: JSONResponse({"id": "x" * 200_000, "usage": {"prompt_tokens": 9, "completion_tokens": 4}}), True),
    ],
)  # fmt: skip
def test_only_usage_that_was_said_settles_below_the_worst_case(priced: Any, answer: Any, known: bool) -> None:
    priced.approve(inference("CreateChatCompletion"))
    priced.answers.append(answer())
    assert priced.http.post(CHAT, json=body(stream=True)).status_code == 200
    [(state, reserved, actual, _)] = priced.settled()
    assert (state, actual) == ("settled", 12 if known else reserved)


def test_a_stream_that_breaks_costs_what_was_held(priced: Any) -> None:
    priced.approve(inference("CreateChatCompletion"))
    priced.answers.append(chunks({"prompt_tokens": 9, "completion_tokens": 4}, breaks=True))
    with pytest.raises(httpx.RemoteProtocolError):
        priced.http.post(CHAT, json=body(stream=True))
    [(state, reserved, actual, _)] = priced.settled()
    assert (state, actual) == ("settled", reserved)


@pytest.mark.parametrize(("code", "state"), [(400, "released"), (429, "released"), (500, "settled"), (503, "settled")])
def test_refusals_and_unknown_outcomes(priced: Any, code: int, state: str) -> None:
    priced.approve(inference("CreateChatCompletion"))
    priced.answers.append(JSONResponse({"error": {"message": "no"}}, code))
    assert priced.http.post(CHAT, json=body()).status_code == code
    [(found, reserved, actual, _)] = priced.reservations()
    assert (found, actual) == (state, reserved if state == "settled" else 0)


@pytest.mark.parametrize(
    "change",
    [
        {"max_tokens": None},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://x/y.png"}}]}]},
    ],
)
def test_what_nothing_bounds_is_refused(priced: Any, change: dict[str, Any]) -> None:
    priced.approve(inference("CreateChatCompletion"))
    assert rule_of(priced.http.post(CHAT, json=body(**change))) == "spend.tokens"
    assert priced.platform == []


def test_every_answer_and_every_prompt_counts(priced: Any) -> None:
    priced.approve(inference("CreateChatCompletion"), inference("CreateCompletion", id="score"))
    assert priced.http.post(CHAT, json=body(n=2)).status_code == 200
    several = body(messages=None, prompt=["a", "b", "c"])
    assert priced.http.post(COMPLETION, json=several).status_code == 200
    chat, completion = (row[1] for row in priced.reservations())
    assert abs(chat - most(body(n=2), 10, 2)) <= 1
    assert abs(completion - most(several, 30)) <= 1


def test_the_messages_api_of_the_platform_is_metered_the_same(priced: Any) -> None:
    priced.approve(inference("CreateMessage"))
    priced.answers.append(JSONResponse({"content": [], "usage": {"input_tokens": 20, "output_tokens": 5}}))
    assert priced.http.post(MESSAGE, json=body()).status_code == 200
    assert priced.reservations()[0][2] == 23


def test_calls_at_once_never_exceed_what_was_approved(priced: Any, together: Any) -> None:
    room, worst = 3, -int(-most(body(), 10))
    priced.approve(inference("CreateChatCompletion", max_cost=Decimal(room * (worst + 1)) / 1_000_000))
    codes = [answer.status_code for answer in together(9, lambda: priced.http.post(CHAT, json=body()))]
    assert (codes.count(200), codes.count(429)) == (room, 9 - room)
    assert len(priced.platform) == room
    assert priced.cost().so_far <= priced.cost().approved


def test_without_a_price_there_is_no_call(parts: Any) -> None:
    at = parts(backend="fireworks", anthropic_key=SecretStr(""))
    at.approve(inference("CreateChatCompletion"))
    assert rule_of(at.http.post(CHAT, json=body())) == "spend.price"
    assert at.platform == []


@pytest.mark.parametrize(("backend", "model"), [("fireworks", DEDICATED), ("local", DEDICATED), ("local", SERVERLESS)])
def test_tokens_are_free_where_the_machine_is_paid_by_the_hour(parts: Any, backend: str, model: str) -> None:
    at = parts(backend=backend, anthropic_key=SecretStr(""))
    at.approve(inference("CreateChatCompletion", max_cost=Decimal(0)))
    assert at.http.post(CHAT, json=body(model=model, max_tokens=None)).status_code == 200
    assert at.reservations() == []
    assert at.cost().lines[0].calls == 1
