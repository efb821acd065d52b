"""Single decisions: order of the checks, accounts, roles, what a session may add to."""

import itertools
import json
from typing import Any

import pytest

from manifest.decide import decide
from manifest.facts import Caller, Owner, RequestFacts, Verdict
from manifest.pilot import pilot_methods
from manifest.registry import Route, routes
from manifest.roles import ROLES, may

SESSION = Caller("acme", "ann", session="s1")
JSON = (b"content-type", b"application/json")


def ask(verb: str, path: str, body: Any = None, caller: Caller = SESSION, query: str = "", **owners: Owner) -> Verdict:
    raw = None if body is None else json.dumps(body).encode()
    headers = [(b"host", b"gateway")] + ([JSON, (b"content-length", str(len(raw)).encode())] if raw is not None else [])
    known = {name.replace("__", "/"): owner for name, owner in owners.items()}
    return decide(RequestFacts(verb, path.encode(), query.encode(), headers, raw), caller, known.get)


def test_catalogue_is_readable_and_never_writable() -> None:
    assert ask("GET", "/v1/accounts/fireworks/models/ember-500k").allowed
    assert ask("GET", "/v1/accounts/fireworks/trainingShapes").allowed
    assert ask("GET", "/v1/accounts/fireworks/deployments").rule == "account"
    assert ask("POST", "/v1/accounts/fireworks/datasets", {"datasetId": "d"}).rule == "account"


@pytest.mark.parametrize(
    ("field", "value", "rule"),
    [
        ("dataset", "accounts/acme/datasets/d", "allowed"),
        ("dataset", "accounts/fireworks/datasets/d", "allowed"),
        ("dataset", "accounts/other/datasets/d", "account"),
        ("dataset", "accounts/acme/models/d", "body"),
        ("dataset", "d", "body"),
        ("dataset", ["accounts/acme/datasets/d"], "body"),
        ("outputModel", "accounts/acme/models/m", "allowed"),
        ("outputModel", "accounts/fireworks/models/m", "account"),
        ("outputModel", "accounts/acme/models/M.1", "body"),
        ("baseModel", "accounts/fireworks/models/ember-500k", "allowed"),
        ("warmStartFrom", "accounts/other/models/m", "account"),
        ("displayName", "copy of accounts/other/models/m", "account"),
        ("wandbConfig", {"project": "accounts/other/x"}, "account"),
        ("wandbConfig", {"accounts/other/x": 1}, "account"),
        ("jinjaTemplate", None, "body"),
        ("base_model", "accounts/acme/models/m", "body"),
        ("loraRank", True, "body"),
        ("learningRate", "0.1", "body"),
        ("nodes", 1.5, "body"),
        ("earlyStop", 1, "body"),
    ],
)
def test_every_name_in_a_body_is_checked(field: str, value: Any, rule: str) -> None:
    verdict = ask("POST", "/v1/accounts/acme/supervisedFineTuningJobs", {field: value})
    assert verdict.rule == rule, verdict.reason


@pytest.mark.parametrize(
    ("body", "rule"),
    [
        ({"evaluationDataset": "accounts/acme/datasets/d", "lossConfig": {"method": "ORPO", "klBeta": 0.1}}, "allowed"),
        ({"evaluationDataset": "accounts/other/datasets/d"}, "account"),
        ({"evaluationDataset": "d"}, "body"),
        ({"trainingConfig": {"warmStartFrom": "accounts/other/models/m"}}, "account"),
        ({"trainingConfig": {"outputModel": "accounts/fireworks/models/m"}}, "account"),
        ({"trainingConfig": {"evaluationDataset": "accounts/acme/datasets/d"}}, "body"),
        ({"lossConfig": {"method": 1}}, "body"),
        ({"lossConfig": {"beta": 0.1}}, "body"),
        ({"lossConfig": {"klBeta": "0.1"}}, "body"),
        ({"lossConfig": {"dpo": {"referenceModel": "accounts/other/models/m"}}}, "account"),
    ],
)
def test_every_name_in_a_preference_job_is_checked(body: dict[str, Any], rule: str) -> None:
    verdict = ask("POST", "/v1/accounts/acme/dpoJobs", body)
    assert verdict.rule == rule, verdict.reason


@pytest.mark.parametrize("value", ["1e999", "-1e999", "NaN", "Infinity", '"\\ud800"', "9" * 5000, "1.", "01", "'x'"])
def test_numbers_and_strings_that_are_not_json_are_refused(value: str) -> None:
    for caller in (SESSION, Caller("acme", "ann")):
        raw = b'{"wandbConfig": {"x": ' + value.encode() + b"}}"
        headers = [JSON, (b"content-length", str(len(raw)).encode())]
        facts = RequestFacts("POST", b"/v1/accounts/acme/supervisedFineTuningJobs", b"", headers, raw)
        verdict = decide(facts, caller)
        assert (verdict.rule, verdict.status) == ("body", "INVALID_ARGUMENT")


@pytest.mark.parametrize(
    ("model", "rule"),
    [
        ("accounts/acme/deployments/d", "allowed"),
        ("accounts/acme/models/m#accounts/acme/deployments/d", "allowed"),
        ("accounts/fireworks/models/m#accounts/acme/deployments/d", "allowed"),
        ("accounts/fireworks/deployments/d", "account"),
        ("accounts/acme/models/m#accounts/other/deployments/d", "account"),
        ("accounts/other/models/m", "account"),
        ("accounts/acme/models/m#accounts/acme/deployments/d#x", "body"),
        ("accounts/acme/datasets/d", "body"),
        ("ember-500k", "body"),
        ("", "body"),
        (7, "body"),
    ],
)
def test_inference_targets(model: Any, rule: str) -> None:
    body = {"model": model, "messages": [{"role": "user", "content": "see accounts/other/models/m"}]}
    for path in ("/v1/chat/completions", "/inference/v1/chat/completions"):
        assert ask("POST", path, body).rule == rule


def test_a_session_adds_only_to_what_it_created() -> None:
    path = "/v1/accounts/acme/datasets/d:validateUpload"
    mine, theirs = Owner("ann", "s1"), Owner("ann", "s2")
    assert ask("POST", path, {}).rule == "created"
    assert ask("POST", path, {}, accounts__acme__datasets__d=theirs).rule == "created"
    assert ask("POST", path, {}, accounts__acme__datasets__d=mine).allowed
    load = {"model": "accounts/acme/models/m", "deployment": "accounts/acme/deployments/d"}
    assert ask("POST", "/v1/accounts/acme/deployedModels", load).rule == "created"
    assert ask("POST", "/v1/accounts/acme/deployedModels", load, accounts__acme__deployments__d=mine).allowed
    key = Caller("acme", "ann", preset="pilot")
    assert ask("POST", path, {}, caller=key, accounts__acme__datasets__d=theirs).allowed
    assert ask("POST", path, {}, caller=key, accounts__acme__datasets__d=Owner("bob", "")).rule == "created"


def test_an_unknown_preset_permits_nothing() -> None:
    caller = Caller("acme", "ann", "admin", preset="pilot2")
    assert ask("GET", "/v1/accounts/acme/models", caller=caller).rule == "manifest"


def test_control_surface_is_never_forwarded() -> None:
    admin = Caller("acme", "root", "admin")
    for verb, path in (("GET", "/v1/accounts"), ("GET", "/v1/accounts/acme/users"), ("GET", "/v1/whoami")):
        assert ask(verb, path, caller=admin).rule == "surface"


def test_users_may_send_what_we_do_not_know_but_not_a_second_spelling() -> None:
    ann = Caller("acme", "ann")
    path = "/v1/accounts/acme/supervisedFineTuningJobs"
    assert ask("POST", path, {"dataset": "d", "brandNew": {"x": None}}, caller=ann).allowed
    assert ask("POST", path, {"base_model": "accounts/other/models/m"}, caller=ann).rule == "account"
    assert ask("POST", path, {"base_model": "m", "baseModel": "n"}, caller=ann).rule == "body"
    assert ask("POST", path, {"brandNew": "accounts/other/models/m"}, caller=ann).rule == "account"


def test_a_body_is_refused_where_there_is_none_even_without_a_header_that_announces_it() -> None:
    facts = RequestFacts("GET", b"/v1/accounts/acme/models", body=b"{}")
    assert (decide(facts, SESSION).rule, decide(facts, Caller("acme", "ann")).rule) == ("body", "body")


def test_length_and_chunked_exclude_each_other() -> None:
    both = [JSON, (b"content-length", b"2"), (b"transfer-encoding", b"chunked")]
    path = b"/v1/accounts/acme/supervisedFineTuningJobs"
    assert decide(RequestFacts("POST", path, headers=both, body=b"{}"), SESSION).rule == "header"
    assert decide(RequestFacts("POST", path, headers=both[::2], body=b"{}"), SESSION).allowed


@pytest.mark.parametrize(("depth", "rule"), [(20, "allowed"), (40, "body"), (100_000, "body")])
def test_nesting_is_bounded(depth: int, rule: str) -> None:
    raw = b'{"wandbConfig": {"x": ' + b"[" * depth + b"]" * depth + b"}}"
    headers = [JSON, (b"content-length", str(len(raw)).encode())]
    facts = RequestFacts("POST", b"/v1/accounts/acme/supervisedFineTuningJobs", b"", headers, raw)
    assert decide(facts, SESSION).rule == rule


def test_queries_are_closed() -> None:
    models = "/v1/accounts/acme/models"
    assert ask("GET", models, query="pageSize=5&filter=kind%3D%22X%22&order_by=name").allowed
    for query in (
        "pageSize=5&pageSize=6",
        "page_size=5&pageSize=6",
        "parent=x",
        "pageSize",
        "a;b=1",
        "filter=%zz",
        "=1",
    ):
        assert ask("GET", models, query=query).rule == "query", query
    assert ask("GET", models, query="filter=name%3Daccounts/other/models/m").rule == "account"
    assert ask("GET", "/v1/accounts/acme/billingUsage", query="groupBy=a&groupBy=b").allowed


def expected(role: str, route: Route, account: str, owner: str) -> bool:
    """The documented matrix, written independently of `roles.may` and `decide` [P110-P112, A89]."""
    if route.surface == "control":
        return False
    if route.method == "ImportModel":
        return role == "admin" and account == "fireworks"
    if account == "fireworks" and not (route.public and route.action == "read"):
        return False
    if account == "other":
        return False
    if route.action in ("read", "infer"):
        return role in ("admin", "user", "contributor", "inference-user")
    if route.action == "create":
        return role in ("admin", "user", "contributor")
    return role in ("admin", "user") or (role == "contributor" and owner == "own")


def test_the_whole_matrix_of_users() -> None:
    """Role x method x account relation x owner, each cell."""
    cells = 0
    for (verb, _), route in routes().items():
        if not route.params:
            continue
        for role, account, owner in itertools.product(
            [*ROLES, "nobody"], ["acme", "fireworks", "other"], ["own", "theirs"]
        ):
            path = route.path.replace("{account}", account)
            for name in route.params[1:]:
                path = path.replace(f"{{{name}}}", "x1")
            caller = Caller(account="acme", user="ann", role=role)
            whose = Owner("ann" if owner == "own" else "bob", "")
            headers = [(b"content-type", b"multipart/form-data; boundary=x")] if route.body == "multipart" else []
            verdict = decide(RequestFacts(verb, path.encode(), b"", headers), caller, lambda _, w=whose: w)
            assert verdict.allowed == expected(role, route, account, owner), (role, route.method, account, owner)
            assert verdict.method == route.method
            cells += 1
    assert cells > 2500


def test_the_whole_matrix_of_the_preset() -> None:
    """For a bound caller the manifest comes first: no role raises it."""
    for (verb, _), route in routes().items():
        path = route.path.replace("{account}", "acme")
        for name in route.params[1:]:
            path = path.replace(f"{{{name}}}", "x1")
        headers = [(b"content-type", b"multipart/form-data; boundary=x")] if route.body == "multipart" else []
        facts = RequestFacts(verb, path.encode(), b"", headers)
        for role in ROLES:
            verdict = decide(facts, Caller("acme", "ann", role, session="s1"), lambda _: Owner("ann", "s1"))
            entry = pilot_methods().get(route.method)
            can = entry is not None and may(role, route.action, owns=True)
            assert verdict.allowed == can, (role, route.method)
            if entry is None:
                assert verdict.rule == "manifest"


def test_roles_of_keys_and_users() -> None:
    assert [may(role, "keys", owns=True) for role in ROLES] == [True] * 4
    assert [may(role, "keys", owns=False) for role in ROLES] == [True, False, False, False]
    assert [may(role, "users", owns=True) for role in ROLES] == [True, False, False, False]
    assert not may("root", "read", owns=True)
