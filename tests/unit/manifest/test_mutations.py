"""Requests mutated from valid ones: whatever the parser accepts is within the manifest and the account, and enough is
accepted for that to mean something."""

import json
import re
from collections import Counter
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from manifest.decide import decide
from manifest.facts import Caller, Owner, RequestFacts, Verdict
from manifest.registry import load_yaml
from pilotlight.plan import canonical_json

ME = Caller("acme", "ann", session="s1")
ALLOWED = {
    (entry["method"], entry["verb"], re.sub(r"\{\w+\}", "*", entry["path"]))
    for group in load_yaml("pilot.yaml")["groups"]
    for entry in group["methods"]
    if entry.get("routable", True)
}
VALID: list[tuple[str, str, str, Any]] = [
    ("GET", "/v1/accounts/acme/datasets/d1", "", None),
    ("GET", "/v1/accounts/acme/datasets", "pageSize=10&filter=state%3DREADY", None),
    ("GET", "/v1/accounts/fireworks/models/ember-500k", "readMask=name", None),
    ("GET", "/v1/accounts/acme/supervisedFineTuningJobs/j1", "", None),
    ("GET", "/v1/accounts/acme/datasets/d1:getDownloadEndpoint", "", None),
    ("GET", "/v1/accounts/acme/billingUsage", "groupBy=deployment_name&startTime=2026-01-01T00:00:00Z", None),
    ("POST", "/v1/accounts/acme/datasets", "", {"datasetId": "d9", "dataset": {"userUploaded": {}}}),
    ("POST", "/v1/accounts/acme/datasets/mine:validateUpload", "", {}),
    (
        "POST",
        "/v1/accounts/acme/supervisedFineTuningJobs",
        "supervisedFineTuningJobId=ft-1",
        {
            "dataset": "accounts/acme/datasets/d1",
            "baseModel": "accounts/fireworks/models/ember-500k",
            "outputModel": "accounts/acme/models/o",
        },
    ),
    (
        "POST",
        "/v1/accounts/acme/deployedModels",
        "",
        {"model": "accounts/acme/models/o", "deployment": "accounts/acme/deployments/mine"},
    ),
    (
        "POST",
        "/inference/v1/chat/completions",
        "",
        {
            "model": "accounts/acme/models/o#accounts/acme/deployments/mine",
            "messages": [{"role": "user", "content": "x"}],
        },
    ),
]
TOKENS = [
    "..", "%2e%2e", "%2F", "/", "//", ":", ":cancel", ":delete", ":undelete", ";", ";x=1", "?", "&", "=", "#", "\\",
    "%00",
    "%0a", " ", "*", "-", "other", "acme", "fireworks", "users", "apiKeys", "secrets", "models", "deployments",
    "DELETE",
    "accounts/other/models/m", "accounts/acme/models/m", "_", ".", "A", "é", "\u212a", "pageSize=1", "{}",
    "null", "NaN", '"',
]  # fmt: skip
VERBS = ["GET", "POST", "PATCH", "DELETE", "PUT", "get"]


@st.composite
def mutated(draw: st.DrawFn) -> tuple[str, str, str, str]:
    """A valid request with up to three edits anywhere."""
    verb, path, query, body = draw(st.sampled_from(VALID))
    parts = {"verb": verb, "path": path, "query": query, "body": "" if body is None else json.dumps(body)}
    for _ in range(draw(st.sampled_from([0, 1, 1, 1, 2, 3]))):
        where = draw(st.sampled_from(["verb", "path", "path", "query", "body", "body", "id", "id"]))
        text = parts.get(where, "")
        if where == "verb":
            parts[where] = draw(st.sampled_from(VERBS))
            continue
        if where == "id":  # harmless: another ID of the account
            parts["path"] = re.sub("d1|j1|mine", draw(st.sampled_from(["d2", "mine", "x-7"])), parts["path"])
            continue
        start = draw(st.integers(0, len(text)))
        end = draw(st.integers(start, min(len(text), start + 12))) if draw(st.booleans()) else start
        parts[where] = text[:start] + draw(st.sampled_from(TOKENS)) + text[end:]
    return parts["verb"], parts["path"], parts["query"], parts["body"]


def owner_of(name: str) -> Owner | None:
    return Owner("ann", "s1") if name.endswith("/mine") else None


def violations(verdict: Verdict) -> list[str]:
    """What an allowed request must never be, judged from the rebuilt request, by other means than the parser's."""
    call = verdict.call
    if call is None:
        return ["allowed without a parsed call"]
    found: list[str] = []
    template = re.sub(r"^/inference/v1/", "/v1/", re.sub(r"\{\w+\}", "*", call.route.path))
    if (verdict.method, call.route.verb, template) not in ALLOWED:
        found.append("outside of the manifest")
    account = call.params.get("account", "acme")
    if account != "acme" and (account != "fireworks" or call.route.verb != "GET"):
        found.append("foreign account in the path")
    content = {"messages", "prompt"}
    body = {key: value for key, value in call.body.items() if key not in content} if isinstance(call.body, dict) else {}
    text = canonical_json([call.path, call.query, body])
    if set(re.findall(r"accounts/([^/\"#]*)", text, re.IGNORECASE)) - {"acme", "fireworks"}:
        found.append("foreign account in the text")
    for key in ("outputModel", "deployment"):
        if key in body and not str(body[key]).startswith("accounts/acme/"):
            found.append(f"{key} outside of the account")
    if not all(re.fullmatch(r"[A-Za-z0-9._-]+", value) for value in call.params.values()):
        found.append("an ID with odd characters")
    if "validateUpload" in call.path and call.params["dataset"] != "mine":
        found.append("changes what it did not create")
    return found


def test_no_mutation_gets_out() -> None:
    seen: Counter[str] = Counter()

    @settings(
        max_examples=3000, deadline=None, database=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
    )
    @given(mutated())
    def check(request: tuple[str, str, str, str]) -> None:
        verb, path, query, body = request
        raw = body.encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(raw)).encode())] if raw else []
        verdict = decide(RequestFacts(verb, path.encode(), query.encode(), headers, raw), ME, owner_of)
        seen["allowed" if verdict.allowed else verdict.rule] += 1
        seen["all"] += 1
        if verdict.allowed:
            assert violations(verdict) == []

    check()
    assert seen["all"] >= 3000
    assert seen["allowed"] / seen["all"] >= 0.10, seen
    assert len(seen) >= 8, seen
