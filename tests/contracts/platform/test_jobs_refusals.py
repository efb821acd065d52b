"""Every field of jobs, deployments and deployed models, with values nobody should send: refused, never a defect."""

import json
from typing import Any

import pytest
from pydantic.alias_generators import to_camel

from local_platform.deployments.adapters import DeployedModelRequest
from local_platform.deployments.fields import DeploymentRequest
from local_platform.jobs.fields import JobRequest
from local_platform.jobs.loss import PreferenceRequest
from tests.fixtures.platform import PlatformServer, upload_rows
from tests.fixtures.training import preferences

ODD: list[Any] = [
    None,
    "",
    "x" * 5000,
    "accounts/acme/models/x\u0000y",
    "../../etc",
    "9" * 400,
    -1,
    1.5,
    10**18,
    1e308,
    True,
    [],
    ["a"],
    {},
    {"a": {"b": [1]}},
    "9999-12-31T23:59:59-14:00",
    "0001-01-01T00:00:00+14:00",
    "999999999s",
]
BASE = "accounts/fireworks/models/tiny-base"
JOB = {"dataset": "chats", "baseModel": BASE, "outputModel": "odd-output"}
CASES: list[tuple[str, str, dict[str, Any], list[str]]] = [
    ("POST", "supervisedFineTuningJobs?supervisedFineTuningJobId=odd", JOB, list(JobRequest.model_fields)),
    (
        "POST",
        "dpoJobs?dpoJobId=odd",
        {"dataset": "odd-pairs", "trainingConfig": {"baseModel": BASE, "outputModel": "odd-output"}},
        list(PreferenceRequest.model_fields),
    ),
    ("POST", "deployments?validateOnly=true", {"baseModel": BASE}, list(DeploymentRequest.model_fields)),
    ("PATCH", "deployments/odd", {"baseModel": BASE}, list(DeploymentRequest.model_fields)),
    ("POST", "deployedModels", {"model": "odd", "deployment": "odd"}, list(DeployedModelRequest.model_fields)),
    ("PATCH", "deployments/odd:scale", {}, ["replica_count"]),
    ("POST", "deploymentShapeVersions:match", {}, ["create_deployment_request"]),
]


@pytest.mark.parametrize(("method", "path", "body", "fields"), CASES, ids=[case[1].split("?")[0] for case in CASES])
def test_odd_values_are_refused_or_harmless(
    platform_server: PlatformServer,
    tiny_base: str,
    chat_dataset: str,
    method: str,
    path: str,
    body: dict[str, Any],
    fields: list[str],
) -> None:
    with platform_server.http() as http:
        if "dpo" in path:
            upload_rows(platform_server, "odd-pairs", preferences(3))
        http.post("/v1/accounts/acme/deployments?deploymentId=odd", json={"baseModel": BASE})
        for field in fields:
            for value in ODD:
                content = json.dumps(body | {to_camel(field): value})
                headers = {"Content-Type": "application/json"}
                answer = http.request(method, f"/v1/accounts/acme/{path}", content=content, headers=headers)
                assert answer.status_code < 500, (field, value, answer.text)
                if answer.status_code >= 400:
                    assert set(answer.json()) == {"code", "message", "details"}
                    assert 10 < len(answer.json()["message"]) < 1000
                elif "Jobs" in path:
                    http.delete(f"/v1/accounts/acme/{path.split('?')[0]}/odd").raise_for_status()
        http.delete("/v1/accounts/acme/deployments/odd?hard=true&ignoreChecks=true")


@pytest.mark.parametrize("body", [b"", b"{", b"null", b"[]", b'{"a": NaN}', b'{"displayName": "\\ud800"}', b"\xff"])
@pytest.mark.parametrize("path", ["supervisedFineTuningJobs", "dpoJobs", "deployments", "deployedModels"])
def test_malformed_bodies_are_refused(platform_server: PlatformServer, path: str, body: bytes) -> None:
    with platform_server.http() as http:
        answer = http.post(f"/v1/accounts/acme/{path}", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert set(answer.json()) == {"code", "message", "details"}


@pytest.mark.parametrize(
    "query",
    [
        "startTime=x&endTime=y",
        "startTime=0001-01-01T00:00:00%2B14:00&endTime=0001-01-02T00:00:00Z",
        "startTime=9999-12-30T00:00:00Z&endTime=9999-12-31T23:59:59-14:00",
        "startTime=2026-01-02T00:00:00Z&endTime=2026-01-01T00:00:00Z",
        "startTime=2026-01-01T00:00:00Z&endTime=2026-01-02T00:00:00Z&timezone=../../etc/passwd",
        "startTime=2026-01-01T00:00:00Z&endTime=2026-01-02T00:00:00Z&timezone=America",
        "startTime=2026-01-01T00:00:00Z&endTime=2026-01-02T00:00:00Z&groupBy=x",
        "startTime=2026-01-01T00:00:00Z&endTime=2026-01-02T00:00:00Z&filter[x][values]=1",
        "startTime=2026-01-01T00:00:00Z&endTime=2026-01-02T00:00:00Z&usageType=x",
    ],
)
def test_odd_usage_queries_are_refused(platform_server: PlatformServer, query: str) -> None:
    with platform_server.http() as http:
        answer = http.get(f"/v1/accounts/acme/billingUsage?{query}")
    assert answer.status_code == 400, answer.text
    assert answer.json()["code"] == 3


def test_roles_bound_who_may_do_what(platform_server: PlatformServer, tiny_base: str, chat_dataset: str) -> None:
    keys: dict[str, str] = {}
    with platform_server.client() as admin:
        for role in ("contributor", "inference-user"):
            admin.users.create(user_id=f"b-{role}", role=role)
            keys[role] = admin.api_keys.create(f"b-{role}", api_key={"displayName": "k"}).key or ""  # pyright: ignore[reportArgumentType]
        admin.deployments.create(base_model=tiny_base, deployment_id="of-the-admin")
    url = "/v1/accounts/acme/deployments"
    with platform_server.http() as http:
        http.headers["Authorization"] = f"Bearer {keys['inference-user']}"
        assert http.get(url).status_code == 200
        assert http.post(url, json={"baseModel": tiny_base}).status_code == 403
        http.headers["Authorization"] = f"Bearer {keys['contributor']}"
        assert http.post(f"{url}?deploymentId=my-own", json={"baseModel": tiny_base}).status_code == 200
        assert http.delete(f"{url}/of-the-admin").status_code == 403
        assert http.delete(f"{url}/my-own?hard=true").status_code == 200
        assert http.get("/v1/accounts/other/deployments").status_code in (403, 404)
        assert http.post("/v1/accounts/fireworks/deployments", json={"baseModel": tiny_base}).status_code == 403
        http.headers["Authorization"] = "Bearer fw_nobody"
        assert http.get(url).status_code == 401
    with platform_server.client() as admin:
        admin.deployments.delete("of-the-admin", hard=True)
