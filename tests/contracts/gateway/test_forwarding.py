"""Calls through the gateway over real sockets: what is forwarded, what is refused, what comes back."""

import time
from typing import Any

import httpx
import pytest

from gateway import Gateway, Principal, audit
from pilotlight.errors import NotFound, PermissionDenied, Unavailable

ANN = Principal("user", "acme", user="ann")
JOBS = "/v1/accounts/acme/supervisedFineTuningJobs"


def error_of(response: httpx.Response) -> dict[str, Any]:
    return response.json()["error"]


def test_a_read_is_forwarded_with_the_gateways_key_and_without_the_callers(bench: Any) -> None:
    bench.platform.resources["accounts/acme/datasets/d1"] = {"name": "accounts/acme/datasets/d1", "state": "READY"}
    response = bench.me.get(
        "/v1/accounts/acme/datasets/d1",
        params={"read_mask": "state"},
        headers={"authorization": "Bearer mine", "x-a": "b"},
    )
    assert response.json()["state"] == "READY"
    seen = bench.platform.seen[0]
    assert (seen.verb, seen.target) == ("GET", "/v1/accounts/acme/datasets/d1?readMask=state")
    assert seen.headers["authorization"].endswith("must_never_be_seen")
    assert "x-a" not in seen.headers
    assert not {"set-cookie", "x-internal-node"} & set(response.headers)


def test_a_destructive_call_never_reaches_the_platform(bench: Any) -> None:
    response = bench.me.delete("/v1/accounts/acme/datasets/d1")
    error = error_of(response)
    assert (response.status_code, error["status"]) == (403, "PERMISSION_DENIED")
    assert "DeleteDataset" in error["message"]
    assert error["details"][0]["metadata"] == {"method": "DeleteDataset", "rule": "manifest"}
    assert bench.platform.seen == []
    assert [(r.method, r.allowed, r.rule) for r in bench.told] == [("DeleteDataset", False, "manifest")]


def test_every_verdict_is_audited_before_it_is_forwarded(bench: Any) -> None:
    bench.me.get("/v1/accounts/acme/models")
    bench.me.post(f"{JOBS}/x:cancel", json={})
    bench.me.get("/v1/accounts/other/models/m")
    report = audit.verify(bench.engine)
    assert (report.rows, report.intact) == (3, True)
    with bench.engine.connect() as db:
        rows = db.exec_driver_sql("SELECT principal, method, verdict, rule FROM gateway_audit ORDER BY seq").all()
    assert [tuple(row) for row in rows] == [
        ("session:1779157376-41e1", "ListModels", "allowed", "allowed"),
        ("session:1779157376-41e1", "CancelSupervisedFineTuningJob", "denied", "manifest"),
        ("session:1779157376-41e1", "GetModel", "denied", "account"),
    ]


def test_json_is_rebuilt_not_passed_on(bench: Any) -> None:
    raw = b'{ "datasetId" : "d\\u0032",\n "dataset": {"userUploaded": {}, "exampleCount": "5"} }'
    response = bench.me.post("/v1/accounts/acme/datasets", content=raw, headers={"content-type": "application/json"})
    assert response.status_code == 200
    assert bench.platform.seen[0].body == b'{"datasetId":"d2","dataset":{"userUploaded":{},"exampleCount":"5"}}'


def test_uploads_are_streamed_only_into_what_the_session_created(bench: Any) -> None:
    files = {"file": ("d.jsonl", b"x" * 3_000_000, "application/jsonl")}
    refused = bench.me.post("/v1/accounts/acme/datasets/theirs:upload", files=files)
    assert error_of(refused)["details"][0]["reason"] == "created"
    bench.me.post("/v1/accounts/acme/datasets", json={"datasetId": "mine", "dataset": {"userUploaded": {}}})
    response = bench.me.post("/v1/accounts/acme/datasets/mine:upload", files=files, headers={"idempotency-key": "u"})
    assert response.json()["bytes"] > 3_000_000
    again = bench.me.post("/v1/accounts/acme/datasets/mine:upload", files=files, headers={"idempotency-key": "u"})
    assert again.json() == response.json()
    assert len([s for s in bench.platform.seen if s.target.endswith(":upload")]) == 1
    assert bench.gateway.created_by("1779157376-41e1") == ["accounts/acme/datasets/mine"]


def test_download_follows_signed_urls_outside_of_the_sandbox(bench: Any) -> None:
    bench.platform.files = {"a.jsonl": b'{"a":1}', "b.jsonl": b'{"b":2}\n'}
    response = bench.me.get("/v1/accounts/acme/datasets/d1:download")
    assert response.content == b'{"a":1}\n{"b":2}\n'
    assert bench.platform.targets() == ["GET /v1/accounts/acme/datasets/d1:getDownloadEndpoint"]


def test_streams_arrive_as_they_are_made(bench: Any, chat: Any) -> None:
    arrivals = []
    with bench.me.stream("POST", "/v1/chat/completions", json=chat(stream=True)) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        for line in response.iter_lines():
            if line:
                arrivals.append((time.monotonic() - float(line.split()[2]), line.split()[1]))
    assert [word for _, word in arrivals] == ["one", "two", "three"]
    assert max(delay for delay, _ in arrivals) < 0.25


def test_scaling_up_passes_through_and_uses_nothing_up(bench: Any, chat: Any) -> None:
    for _ in range(3):
        response = bench.me.post("/inference/v1/chat/completions", json=chat("accounts/acme/deployments/asleep"))
        assert response.status_code == 503
        assert response.headers["retry-after"] == "5"
        assert response.json()["error"]["code"] == "DEPLOYMENT_SCALING_UP"
    assert bench.cost().lines[0].calls == 0
    assert bench.platform.targets() == ["POST /inference/v1/chat/completions"] * 3


def test_an_answer_that_may_follow_a_call_uses_it_up(bench: Any, chat: Any) -> None:
    for _ in range(2):
        assert bench.me.post("/v1/chat/completions", json=chat("accounts/acme/deployments/lossy")).status_code == 503
    assert bench.cost().lines[0].calls == 2


def test_users_are_checked_by_role_and_ownership(bench: Any) -> None:
    bob = bench.serve(Principal("user", "acme", user="bob", role="contributor"))
    eve = bench.serve(Principal("user", "acme", user="eve", role="contributor"))
    viewer = bench.serve(Principal("user", "acme", user="vic", role="inference-user"))
    body = {"datasetId": "bobs", "dataset": {"userUploaded": {}}}
    assert viewer.post("/v1/accounts/acme/datasets", json=body).status_code == 403
    assert bob.post("/v1/accounts/acme/datasets", json=body).status_code == 200
    assert eve.delete("/v1/accounts/acme/datasets/bobs").status_code == 403
    assert viewer.get("/v1/accounts/acme/datasets/bobs").status_code == 200
    assert bob.delete("/v1/accounts/acme/datasets/bobs").status_code == 200


def test_a_preset_key_spends_only_in_sessions(bench: Any, chat: Any) -> None:
    agent = bench.serve(Principal("user", "acme", user="fireworks-agent", role="admin", preset="pilot"))
    for path, body in ((JOBS, {"dataset": "accounts/acme/datasets/d1"}), ("/v1/chat/completions", chat())):
        response = agent.post(path, json=body)
        assert response.status_code == 403
        assert "session" in error_of(response)["message"]
    assert agent.delete("/v1/accounts/acme/models/m").status_code == 403
    assert agent.get("/v1/accounts/acme/models").status_code == 200


def test_an_unreachable_platform_is_unavailable(bench: Any) -> None:
    async def use(gateway: Gateway) -> None:
        with pytest.raises(Unavailable, match="cannot be reached"):
            await gateway.call(ANN, "GET", "/v1/accounts/acme/models")

    bench.in_process(use, "http://127.0.0.1:9")


def test_code_of_the_control_process_is_checked_like_any_other(bench: Any) -> None:
    name = "accounts/acme/models/m"
    bench.platform.resources[name] = {"name": name}

    async def use(gateway: Gateway) -> None:
        assert (await gateway.call(ANN, "GET", f"/v1/{name}"))["name"] == name
        with pytest.raises(PermissionDenied, match="DeleteModel"):
            await gateway.call(Principal("user", "acme", user="vic", role="inference-user"), "DELETE", f"/v1/{name}")
        with pytest.raises(NotFound):
            await gateway.call(ANN, "GET", "/v1/accounts/acme/models/z")
        assert (await gateway.call(ANN, "DELETE", f"/v1/{name}"))["name"] == name

    bench.in_process(use)
    assert bench.platform.resources == {}


@pytest.mark.parametrize(("path", "most"), [("/v1/chat/completions", 32), ("/v1/accounts/acme/datasets", 1)])
def test_bodies_are_bounded_and_small_where_they_can_be(bench: Any, path: str, most: int) -> None:
    body = {"model": "x", "messages": "a" * ((most << 20) + 1)}
    answer = bench.me.post(path, json=body)
    assert (answer.status_code, answer.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")
    assert f"larger than {most} MiB" in answer.json()["error"]["message"]
    assert bench.platform.targets() == []
