"""The planner's own model calls, over real sockets: what is sent, what comes back, and what each one costs."""

import json
import math
from decimal import Decimal
from typing import Any

import httpx
import pytest

from gateway import Principal
from pilotlight.scripted_model import Turn

OPUS = "claude-opus-5-5"
MODEL = "claude-sonnet-5-5"
SECRETS = ("planner-key-that-must-never", "platform_key_that_must_never")


def rule_of(response: httpx.Response) -> str:
    return response.json()["error"]["details"][0]["reason"]


def test_a_call_is_rebuilt_and_only_the_gateway_adds_the_key(parts: Any) -> None:
    at = parts(Turn.say("hello", input_tokens=20, output_tokens=3, headers={"anthropic-organization-id": "org-1"}))
    headers = {"authorization": "Bearer mine", "x-api-key": "mine", "x-other": "1"}
    response = at.ask("héllo", system="Plan.", headers=headers)
    assert response.status_code == 200, response.text
    assert response.json()["content"] == [{"type": "text", "text": "hello"}]
    sent = at.model.received[0]
    assert sent.body == at.body("héllo", system="Plan.")
    assert sent.headers["x-api-key"].startswith("sk-ant-planner")
    assert not {"authorization", "x-other"} & set(sent.headers)
    assert "anthropic-organization-id" not in response.headers
    assert at.platform == []
    assert [(r.method, r.allowed, r.code) for r in at.told] == [("CreatePlannerMessage", True, 200)]


def test_the_worst_case_is_held_and_the_usage_is_what_it_costs(parts: Any) -> None:
    at = parts(Turn.say("hello", input_tokens=100, output_tokens=3, cache_creation_input_tokens=8))
    body = at.body()
    assert at.ask().status_code == 200
    most = math.ceil((len(json.dumps(body, separators=(",", ":"))) + 2048) * 2.50) + 10 * 10
    actual = 100 * 2 + 3 * 10 + 8 * 2.50
    assert at.reservations() == [("settled", most, actual, "108 tokens in, 3 out")]
    assert at.told[0].cost == Decimal(most) / 1_000_000
    assert at.allowance().spent_usd == at.cost().so_far == Decimal("0.00025")
    assert at.cost().lines[0].grant == "allowance"


def test_a_stream_is_passed_on_and_settled_by_its_last_usage(parts: Any) -> None:
    at = parts(Turn.say("one two three four five", input_tokens=100, output_tokens=6))
    response = at.ask(stream=True)
    assert response.headers["content-type"].startswith("text/event-stream")
    assert "message_stop" in response.text
    assert at.settled()[0][2:] == (260, "100 tokens in, 6 out")


@pytest.mark.parametrize("streamed", [False, True])
def test_an_answer_that_breaks_off_costs_what_was_held(parts: Any, streamed: bool) -> None:
    at = parts(Turn.say("one two three four five", break_after=4))
    if streamed:
        with pytest.raises(httpx.RemoteProtocolError):
            at.ask(stream=True)
    else:
        assert at.ask().status_code == 503
    [(state, reserved, actual, reason)] = at.settled()
    assert (state, actual) == ("settled", reserved)
    assert reserved > 0
    assert reason.startswith("outcome unknown")


def test_a_reader_that_goes_away_pays_for_the_whole(parts: Any) -> None:
    at = parts(Turn.say("word " * 40, delay_seconds=0.05))
    with at.http.stream("POST", "/planner/v1/messages", json=at.body(stream=True)) as response:
        next(response.iter_raw())
    [(_, reserved, actual, reason)] = at.settled()
    assert (reserved, reason) == (actual, "outcome unknown: the answer does not say what was used")


def test_no_proxy_of_the_environment_sees_the_key(parts: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    at = parts(Turn.say("hello"))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert at.ask().status_code == 200


@pytest.mark.parametrize(
    ("status", "code", "state"),
    [
        (400, 400, "released"),
        (429, 429, "released"),
        (529, 529, "released"),
        (401, 500, "released"),
        (500, 500, "settled"),
    ],
)
def test_only_what_was_refused_for_sure_is_given_back(parts: Any, status: int, code: int, state: str) -> None:
    at = parts(Turn.fail(status, f"no, {SECRETS[0]}"))
    response = at.ask()
    assert response.status_code == code
    [(found, reserved, actual, _)] = at.reservations()
    assert (found, actual) == (state, reserved if state == "settled" else 0)
    assert at.allowance().calls == (1 if state == "settled" else 0)


def test_an_unreachable_model_costs_nothing(parts: Any) -> None:
    at = parts(anthropic_url="http://127.0.0.1:9")
    assert at.ask().json()["error"]["status"] == "UNAVAILABLE"
    assert at.reservations()[0][0] == "released"


def test_a_redirect_is_never_followed(parts: Any) -> None:
    from starlette.responses import RedirectResponse

    at = parts()
    seen: list[str] = []

    async def elsewhere(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["path"])
        await RedirectResponse(at.url + "/elsewhere", 307)(scope, receive, send)

    at.slot.app = elsewhere
    assert at.ask().status_code == 503
    assert seen == ["/v1/messages"]
    assert at.reservations()[0][0] == "settled"


def test_what_is_not_in_the_grammar_never_leaves(parts: Any) -> None:
    at = parts(Turn.say("hello"))
    for change in ({"max_tokens": None}, {"mcp_servers": []}, {"tools": [{"type": "web_search_20250305"}]}):
        response = at.ask(**change)
        assert (response.status_code, response.json()["error"]["status"]) == (400, "INVALID_ARGUMENT"), response.text
        assert at.audit()[-1] == ("CreatePlannerMessage", "denied", "body")
    for name, value in (("anthropic-beta", "mcp-client-2025-11-20"), ("anthropic-version", "2099-01-01")):
        assert rule_of(at.ask(headers={name: value})) == "header"
    assert at.model.received == []
    assert at.reservations() == []


def test_there_is_one_address(parts: Any) -> None:
    at = parts(Turn.say("hello"))
    base = "/planner/v1"
    posts = ["messages/count_tokens", "files", "messages?beta=true", "messages/batches", "models", "messages/"]
    paths = [
        ("GET", f"{base}/messages"),
        ("POST", "/planner//v1/messages"),
        *(("POST", f"{base}/{one}") for one in posts),
    ]
    for method, path in [*paths, ("POST", f"{base}/messages%3Fbeta=true")]:
        response = at.http.request(method, httpx.URL(at.url, raw_path=path.encode()), json=at.body())
        assert response.status_code in (400, 403), path
    assert at.model.received == []


def test_no_key_may_use_it(parts: Any) -> None:
    at = parts(Turn.say("hello"), caller=Principal("user", "acme", user="ann", role="admin"))
    response = at.ask()
    assert (response.status_code, rule_of(response)) == (403, "session")
    assert at.model.received == []


def test_only_configured_models_at_a_known_price(parts: Any) -> None:
    at = parts(Turn.say("hello"), planner_model=f"{MODEL}, claude-unpriced")
    assert rule_of(at.ask(model=OPUS)) == "spend.rules"
    assert rule_of(at.ask(model="claude-unpriced")) == "spend.price"
    assert at.model.received == []
    assert at.ask().status_code == 200


def test_secrets_are_in_no_answer_event_or_audit(parts: Any) -> None:
    key = "sk-ant-planner-key-that-must-never-be-seen"
    echo = Turn.say(f"the key is {key}!", headers={"x-key": key}, output_tokens=2)
    at = parts(echo, echo, Turn.fail(400, f"bad key {key}"), Turn.fail(403, f"bad key {key}"))
    answers = [at.ask(max_tokens=50), at.ask(stream=True, max_tokens=50), at.ask(), at.ask()]
    shown = "".join(f"{answer.headers}{answer.text}" for answer in answers) + repr(at.told)
    with at.engine.connect() as db:
        for table in ("audit", "grants", "reservations", "effects"):
            shown += repr(db.exec_driver_sql(f"SELECT * FROM gateway_{table}").all())
    assert "bad key [key]" in shown
    assert not any(secret in shown for secret in SECRETS)


def test_the_session_survives_a_missing_model(parts: Any) -> None:
    from pydantic import SecretStr

    at = parts(anthropic_key=SecretStr(""))
    assert rule_of(at.ask()) == "spend.no-grant"
    assert at.cost().approved == 0
