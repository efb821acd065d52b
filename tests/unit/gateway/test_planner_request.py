"""The closed grammar of the planner's model calls, as data: what is in it, and what is not."""

import json
from typing import Any

import pytest

from gateway.planner_request import PlannerRequest, narrow
from manifest.decide import decide
from manifest.facts import Caller, RequestFacts, Verdict

SESSION = Caller("acme", "ann", session="s1")
BODY: dict[str, Any] = {"model": "m", "max_tokens": 10, "messages": [{"role": "user", "content": "hi"}]}
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}}
CACHED = {"type": "ephemeral"}


def ask(change: dict[str, Any], *headers: tuple[bytes, bytes], caller: Caller = SESSION) -> Verdict:
    """`change` over a small request; fields set to None are left out."""
    body = {name: value for name, value in (BODY | change).items() if value is not None}
    raw = json.dumps(body).encode()
    known = [(b"content-type", b"application/json"), (b"content-length", str(len(raw)).encode()), *headers]
    return narrow(decide(RequestFacts("POST", b"/planner/v1/messages", b"", known, raw), caller), known)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"system": "Plan.", "stream": True, "temperature": 0, "top_p": 0.5, "top_k": 3, "stop_sequences": ["x"]},
        {"system": [{"type": "text", "text": "Plan.", "cache_control": CACHED}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "x", "cache_control": None}]}]},
        {"tools": [{"name": "count", "description": "d", "input_schema": SCHEMA, "strict": True}]},
        {"tools": [{"type": "custom", "name": "count", "input_schema": SCHEMA}], "tool_choice": {"type": "any"}},
        {"thinking": {"type": "enabled", "budget_tokens": 2048}},
        {"thinking": {"type": "adaptive", "display": "omitted"}},
        {"output_config": {"effort": "low", "format": {"type": "json_schema", "schema": SCHEMA}}},
        {"messages": [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "t", "signature": "s"}, {"type": "redacted_thinking", "data": "d"},
                {"type": "tool_use", "id": "t1", "name": "count", "input": {"n": 1}},
            ]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "1"}]},
                {"type": "tool_result", "tool_use_id": "t2", "content": "no", "is_error": True},
            ]},
        ]},
    ],
)  # fmt: skip
def test_what_is_in_the_grammar_is_written_anew_unchanged(change: dict[str, Any]) -> None:
    verdict = ask(change)
    assert verdict.call is not None, verdict.reason
    assert json.loads(PlannerRequest.model_validate(verdict.call.body).encode()) == BODY | change


@pytest.mark.parametrize(
    "change",
    [
        {"max_tokens": None},
        {"max_tokens": 0},
        {"max_tokens": "10"},
        {"max_tokens": True},
        {"mcp_servers": [{"type": "url", "url": "https://example.org", "name": "x"}]},
        {"container": "c1"},
        {"metadata": {"user_id": "x"}},
        {"service_tier": "auto"},
        {"inference_geo": "us"},
        {"speed": "fast"},
        {"model": None},
        {"messages": []},
        {"messages": [{"role": "system", "content": "x"}]},
        {"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": "http://x"}}]}]},
        {"messages": [{"role": "user", "content": [{"type": "document", "source": {"type": "file", "file_id": "f"}}]}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "x", "citations": []}]}]},
        {"system": [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral", "ttl": "1h"}}]},
        {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
        {"tools": [{"type": "code_execution_20250825", "name": "code_execution", "input_schema": {}}]},
        {"tools": [{"name": "a b", "input_schema": {}}]},
        {"tools": [{"name": "a", "input_schema": {}, "allowed_callers": ["direct"]}]},
        {"thinking": {"type": "enabled", "budget_tokens": 10}},
        {"output_config": {"task_budget": {"type": "tokens", "total": 1}}},
        {"stream": "yes"},
        {"system": [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "eA=="}}]},
        {"messages": [{"role": "user", "content": [{"type": "server_tool_use", "id": "x", "name": "y", "input": {}}]}]},
        {"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": [
            {"type": "image", "source": {"type": "url", "url": "http://x"}}]}]}]},
        {"messages": [{"role": "user", "content": "x", "name": "y"}]},
        {"messages": "hi"},
        {"cache_control": CACHED},
        {"tools": [{"type": "mcp_toolset", "mcp_server_name": "x"}]},
        {"tool_choice": {"type": "tool", "name": "t", "url": "x"}},
        {"max_tokens": 1.5},
        {"max_tokens": -1},
        {"temperature": 2},
        {"model": 5},
    ],
)  # fmt: skip
def test_what_is_not_in_the_grammar_is_refused(change: dict[str, Any]) -> None:
    verdict = ask(change)
    assert (verdict.allowed, verdict.call, verdict.rule, verdict.status) == (False, None, "body", "INVALID_ARGUMENT")


@pytest.mark.parametrize("name", [b"anthropic-beta", b"Anthropic-Beta", b"anthropic_beta", b"anthropic-workspace-id"])
def test_other_headers_of_the_api_are_refused(name: bytes) -> None:
    assert ask({}, (name, b"x")).rule == "header"


def test_the_version_is_one_that_the_gateway_reads() -> None:
    assert ask({}, (b"anthropic-version", b"2026-10-21")).allowed
    assert ask({}, (b"anthropic-version", b"2099-01-01")).rule == "header"
    assert ask({}, (b"anthropic-version", b"2026-10-21"), (b"Anthropic-Version", b"2023-06-01")).rule == "header"


@pytest.mark.parametrize("role", ["admin", "user", "contributor", "inference-user", "nobody"])
@pytest.mark.parametrize("preset", [None, "pilot"])
def test_it_is_for_sessions_only(role: str, preset: str | None) -> None:
    assert ask({}, caller=Caller("acme", "ann", role, preset=preset)).rule == "session"


def test_other_methods_are_left_as_they_are() -> None:
    verdict = decide(RequestFacts("GET", b"/v1/accounts/acme/models"), SESSION)
    assert narrow(verdict, [(b"anthropic-beta", b"x")]) is verdict
