"""Every bypass of the corpus is refused by the decision or by the grant; the honest requests beside them are not."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.rules import Uncovered, check_rules
from manifest.decide import decide
from manifest.facts import Caller, Owner, RequestFacts
from pilotlight.plan import Rule

CORPUS: dict[str, Any] = yaml.safe_load((Path(__file__).parents[2] / "fixtures/bypasses.yaml").read_text("utf-8"))
HONEST: dict[str, Any] = {
    "dataset": "accounts/acme/datasets/d1",
    "baseModel": "accounts/fireworks/models/ember-500k",
    "outputModel": "accounts/acme/models/out-1",
    "epochs": 1.5,
    "loraRank": 8,
    "evalAutoCarveout": False,
}
RULES = {f"body.{name}": Rule.exactly(value) for name, value in HONEST.items()}
RULES["query.supervisedFineTuningJobId"] = Rule.exactly("ft-1")
JOBS = "/v1/accounts/acme/supervisedFineTuningJobs?supervisedFineTuningJobId=ft-1"
ME = Caller("acme", "ann", "admin", session="s1")


def passes(request: str, body: str | None = None, *extra: str) -> bool:
    """Whether a session with a grant for the honest job gets this request forwarded."""
    verb, _, target = request.partition(" ")
    path, _, query = target.partition("?")
    raw = None if body is None else body.encode("utf-8", "surrogatepass")
    lines = ["host: gateway", *extra]
    if raw is not None:
        lines.append(f"content-length: {len(raw)}")
        lines += (
            [] if any(line.lower().startswith("content-type") for line in extra) else ["content-type: application/json"]
        )
    headers = [
        (name.lower().encode(), value.strip().encode()) for name, _, value in (line.partition(":") for line in lines)
    ]
    facts = RequestFacts(verb, path.encode(), query.encode(), headers, raw)
    verdict = decide(facts, ME, lambda name: None if "/models/out-" in name else Owner("bob", "s2"))
    if verdict.call is None:
        return False
    try:
        if verdict.kind in ("spend", "infer"):
            check_rules(RULES, verdict.call)
    except Uncovered:
        return False
    return True


def honest_json() -> str:
    return json.dumps(HONEST)[1:-1]


def bodies() -> list[str]:
    replaced = [
        json.dumps(HONEST).replace(f'"{name}": {json.dumps(HONEST[name])}', f'"{name}": {value}')
        for name, values in CORPUS["substitutions"].items()
        for value in values
    ]
    return [text.replace("@", honest_json()) for text in CORPUS["bodies"]] + replaced


def requests() -> list[str]:
    return [request for family in CORPUS["requests"].values() for request in family]


def test_the_corpus_is_large() -> None:
    assert len(requests()) + 2 * len(CORPUS["headers"]) + len(bodies()) >= 300
    assert len(set(bodies())) == len(bodies())


@pytest.mark.parametrize("request_line", CORPUS["honest"])
def test_honest_requests_pass(request_line: str) -> None:
    assert passes(request_line)


def test_the_granted_job_passes() -> None:
    assert passes(f"POST {JOBS}", json.dumps(HONEST))
    assert passes(f"POST {JOBS}", json.dumps(HONEST), "accept: */*", "authorization: Bearer x", "x-stainless-os: Linux")


@pytest.mark.parametrize("request_line", requests())
def test_requests_are_refused(request_line: str) -> None:
    assert not passes(request_line)
    assert not passes(request_line, "{}")


@pytest.mark.parametrize("line", CORPUS["headers"])
def test_headers_are_refused(line: str) -> None:
    assert not passes(f"POST {JOBS}", json.dumps(HONEST), line)
    if not line.startswith("Content-Type"):
        assert not passes("GET /v1/accounts/acme/datasets/d1", None, line)


@pytest.mark.parametrize("body", bodies())
def test_bodies_are_refused(body: str) -> None:
    assert not passes(f"POST {JOBS}", body)


def test_bytes_that_are_no_text_are_refused() -> None:
    raw = json.dumps(HONEST).encode()
    for bad in (raw.replace(b"ember", b"emb\xff"), raw.decode().encode("utf-16"), raw + b"\x00", b"\x1f\x8b" + raw):
        headers = [(b"content-type", b"application/json"), (b"content-length", b"9")]
        path, _, query = JOBS.encode().partition(b"?")
        assert not decide(RequestFacts("POST", path, query, headers, bad), ME).allowed
    for path in (
        b"/v1/accounts/acme/models/\xff",
        b"/v1/accounts/acme/models/m\n",
        b"/v1/accounts/acme/models/m\x00",
        b"",
    ):
        assert not decide(RequestFacts("GET", path), ME).allowed
