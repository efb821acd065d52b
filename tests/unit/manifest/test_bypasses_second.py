"""A second corpus, of families that the first lacks; in each, honest requests pass and their variants do not."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from gateway.rules import Uncovered, check_rules
from manifest.decide import decide
from manifest.facts import Caller, Owner, RequestFacts, Verdict
from pilotlight.plan import Rule

CORPUS: dict[str, Any] = yaml.safe_load(
    (Path(__file__).parents[2] / "fixtures/bypasses_second.yaml").read_text("utf-8")
)
ME = Caller("acme", "ann", "admin", session="s1")
JSON = "application/json"
Case = tuple[str, str]


def owner_of(name: str) -> Owner | None:
    return {"mine": Owner("ann", "s1"), "others": Owner("ann", "s2")}.get(name.rpartition("/")[2])


def ask(request: str, body: bytes | None = None, kind: str = JSON, *extra: tuple[bytes, bytes]) -> Verdict:
    verb, _, target = request.partition(" ")
    path, _, query = target.partition("?")
    headers = [(b"host", b"gateway"), *extra]
    if body is not None:
        headers += [(b"content-type", kind.encode()), (b"content-length", str(len(body)).encode())]
    return decide(RequestFacts(verb, path.encode(), query.encode(), headers, body), ME, owner_of)


def filled(case: str, base: str) -> bytes:
    return case.replace("@", base.strip()[1:-1]).encode()


def cases_of(section: str) -> list[Case]:
    return [(name, case) for name, family in CORPUS[section].items() for case in family["cases"]]


def rules_of(family: dict[str, Any]) -> dict[str, Rule]:
    """`=value` is exactly that value, as JSON where it is JSON."""
    rules: dict[str, Rule] = {}
    for name, rule in family["rules"].items():
        if isinstance(rule, dict):
            rules[name] = Rule(**rule)
        else:
            text = rule[1:]
            rules[name] = Rule.exactly(json.loads(text) if text[0].isdigit() and text[-1].isdigit() else text)
    return rules


def is_covered(family: dict[str, Any], body: bytes) -> bool:
    """Whether a session with the family's grant gets this body forwarded."""
    verdict = ask(family["to"], body)
    if verdict.call is None:
        return False
    assert verdict.method == family["method"]
    try:
        check_rules(rules_of(family), verdict.call)
    except Uncovered:
        return False
    return True


REQUESTS = [line for name, family in CORPUS["requests"].items() if name != "honest" for line in family]


def test_the_corpus_is_large_and_has_no_case_twice() -> None:
    cases = [*REQUESTS, *cases_of("bodies"), *cases_of("grants")]
    assert len(cases) >= 300
    assert len(set(cases)) == len(cases)


@pytest.mark.parametrize("line", CORPUS["requests"]["honest"])
def test_honest_requests_pass(line: str) -> None:
    assert ask(line).allowed


@pytest.mark.parametrize("line", REQUESTS)
def test_requests_are_refused(line: str) -> None:
    assert not ask(line).allowed
    assert not ask(line, b"{}").allowed
    boundary = "multipart/form-data; boundary=x"
    assert not ask(line, b"--x--", boundary).allowed


@pytest.mark.parametrize("name", CORPUS["bodies"])
def test_honest_bodies_pass(name: str) -> None:
    family = CORPUS["bodies"][name]
    verdict = ask(family["to"], family["base"].encode())
    assert verdict.allowed, verdict.reason
    assert (verdict.kind in ("spend", "infer")) == family.get("ungranted", False)


@pytest.mark.parametrize(("name", "case"), cases_of("bodies"))
def test_bodies_are_refused(name: str, case: str) -> None:
    family = CORPUS["bodies"][name]
    verdict = ask(family["to"], filled(case, family["base"]))
    assert not verdict.allowed
    assert verdict.method
    assert verdict.reason


@pytest.mark.parametrize("name", CORPUS["grants"])
def test_granted_calls_pass(name: str) -> None:
    family = CORPUS["grants"][name]
    assert is_covered(family, family["base"].encode())


@pytest.mark.parametrize(("name", "case"), cases_of("grants"))
def test_what_was_not_granted_does_not_pass(name: str, case: str) -> None:
    family = CORPUS["grants"][name]
    assert not is_covered(family, filled(case, family["base"]))


@pytest.mark.parametrize(
    "rule",
    [{}, {"equals": 5}, {"isEquals": True, "oneOf": [1]}, {"oneOf": [1], "maxBytes": 9}, {"maxBytes": 9, "minimum": 1}],
)
def test_a_rule_that_is_not_of_exactly_one_kind_does_not_exist(rule: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Rule.model_validate(rule)


DATASETS = "POST /v1/accounts/acme/datasets"
HONEST = b'{"datasetId": "d9", "dataset": {"displayName": "x"}}'
ENCODED = {
    "utf-8 with a mark": b"\xef\xbb\xbf" + HONEST,
    "utf-16": HONEST.decode().encode("utf-16"),
    "utf-16 without a mark": HONEST.decode().encode("utf-16-le"),
    "utf-32": HONEST.decode().encode("utf-32"),
    "utf-7": HONEST.replace(b'"x"', b'"+AGE-').replace(b"+AGE-", b"+AGE-\xff"),
    "latin-1": HONEST.replace(b'"x"', b'"\xe9"'),
    "overlong slash": HONEST.replace(b'"x"', b'"accounts\xc0\xafother"'),
    "raw surrogate": HONEST.replace(b'"x"', b'"\xed\xa0\x80"'),
    "beyond unicode": HONEST.replace(b'"x"', b'"\xf4\x90\x80\x80"'),
    "cut in a character": HONEST.replace(b'"x"', b'"\xe4\xb8"'),
    "raw newline": HONEST.replace(b'"x"', b'"a\nb"'),
    "raw nul": HONEST.replace(b'"x"', b'"a\x00b"'),
    "form feed around": b"\x0c" + HONEST,
    "vertical tab around": HONEST + b"\x0b",
    "gzip": b"\x1f\x8b\x08\x00" + HONEST,
    "deep objects": b'{"a":' * 5000 + b"1" + b"}" * 5000,
    "deep lists": b'{"dataset":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep and cut": b"[" * 500_000,
    "long integer": HONEST.replace(b'"x"', b"9" * 100_000),
    "long fraction": HONEST.replace(b'"x"', b"0." + b"9" * 100_000),
    "many keys twice": b"{" + b",".join(b'"k%d":1' % (n % 99) for n in range(1000)) + b"}",
}


@pytest.mark.parametrize("name", ENCODED)
def test_bytes_that_are_not_strict_json_are_refused(name: str) -> None:
    assert ask(DATASETS, HONEST).allowed
    verdict = ask(DATASETS, ENCODED[name])
    assert (verdict.allowed, verdict.status) == (False, "INVALID_ARGUMENT")


OTHER_TYPES = [
    *("", "text/json", "application/json, text/plain", "application/json; charset=utf-16", "application/x-ndjson"),
    *("application/json-patch+json", "application/merge-patch+json", "application/vnd.api+json", "application/jsonx"),
    *("multipart/form-data; boundary=x", "application/json; charset=utf-8; x=y", "application/json\tx", "*/*"),
    *("application/json; boundary=x", "APPLICATION/JSON; CHARSET=LATIN-1", "application/octet-stream"),
]
SPELLINGS = [
    *("Content-Length: 3", "content_length: 3", "Content-Type: text/plain", "CONTENT_TYPE: x", "Host: b"),
    *("Transfer-Encoding: chunked", "transfer_encoding: identity", "HOST: gateway", "te: x"),
    *("X_HTTP_METHOD_OVERRIDE: DELETE", "x-http_method: DELETE", "X-Fireworks-Account: other", "x_original_path: /x"),
    *("grpc_metadata_x: y", "X-Envoy-Decorator-Operation: x"),
]


@pytest.mark.parametrize("kind", OTHER_TYPES)
def test_other_content_types_are_refused(kind: str) -> None:
    assert not ask(DATASETS, HONEST, kind).allowed


@pytest.mark.parametrize("line", SPELLINGS)
def test_headers_in_other_spellings_are_refused(line: str) -> None:
    assert ask(DATASETS, HONEST, JSON, (b"accept", b"*/*")).allowed
    name, _, value = line.partition(": ")
    assert ask(DATASETS, HONEST, JSON, (name.encode(), value.encode())).rule == "header"


def test_nobody_owns_what_nobody_made() -> None:
    path = "POST /v1/accounts/acme/datasets/d:validateUpload".partition(" ")
    for caller in (Caller("acme", "", "user", preset="pilot"), Caller("acme", "ann", "user", session="")):
        facts = RequestFacts(path[0], path[2].encode())
        assert decide(facts, caller, lambda _: Owner("", "")).rule == "created"


def test_a_result_never_replaces_what_another_session_made() -> None:
    target = "POST /v1/accounts/acme/supervisedFineTuningJobs?supervisedFineTuningJobId=j1"
    for name, rule in (("others", "created"), ("mine", "allowed"), ("fresh", "allowed")):
        body = json.dumps({"outputModel": f"accounts/acme/models/{name}"}).encode()
        assert ask(target, body).rule == rule
