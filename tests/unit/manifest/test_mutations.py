"""Requests mutated from valid ones: whatever the parser accepts is within the manifest and the account, and enough is
accepted for that to mean something."""

import json
import random
import re
from collections import Counter
from typing import Any

import pytest

from manifest.decide import decide
from manifest.facts import Caller, Owner, RequestFacts, Verdict
from manifest.registry import load_yaml

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


def mutated(rng: random.Random) -> tuple[str, str, str, str]:
    """A valid request with up to three edits anywhere."""
    verb, path, query, body = rng.choice(VALID)
    parts = {"verb": verb, "path": path, "query": query, "body": "" if body is None else json.dumps(body)}
    for _ in range(rng.choice([0, 1, 1, 1, 2, 3])):
        where = rng.choice(["verb", "path", "path", "query", "body", "body", "id", "id"])
        text = parts.get(where, "")
        if where == "verb":
            parts[where] = rng.choice(VERBS)
            continue
        if where == "id":  # harmless: another ID of the account
            parts["path"] = re.sub("d1|j1|mine", rng.choice(["d2", "mine", "x-7"]), parts["path"])
            continue
        start = rng.randint(0, len(text))
        end = rng.randint(start, min(len(text), start + 12)) if rng.random() < 0.5 else start
        parts[where] = text[:start] + rng.choice(TOKENS) + text[end:]
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
    text = json.dumps([call.path, call.query, body])
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


def check(count: int, seed: int) -> None:
    rng, seen = random.Random(seed), Counter[str]()
    for _ in range(count):
        verb, path, query, body = mutated(rng)
        raw = body.encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(raw)).encode())] if raw else []
        verdict = decide(RequestFacts(verb, path.encode(), query.encode(), headers, raw), ME, owner_of)
        seen["allowed" if verdict.allowed else verdict.rule] += 1
        if verdict.allowed:
            assert violations(verdict) == [], (verb, path, query, body)
    assert seen["allowed"] / count >= 0.10, seen
    assert len(seen) >= 8, seen


def test_no_mutation_of_twenty_thousand_gets_out() -> None:
    check(20_000, 1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 6))
def test_no_mutation_of_many_gets_out(seed: int) -> None:
    check(250_000, seed)
