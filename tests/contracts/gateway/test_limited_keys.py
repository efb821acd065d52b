"""A key with a spend limit starts nothing outside of sessions that costs money: no reservation would bound it."""

from dataclasses import replace
from typing import Any

import pytest

from gateway import Principal
from gateway.direct import is_free
from manifest.facts import Call, Verdict
from manifest.pilot import pilot_methods
from manifest.registry import route_of, routes
from pilotlight.pricebook import PriceBook

BEN = Principal("user", "acme", user="ben", role="admin", key_id="k1", limited=True)
JOBS = "/v1/accounts/acme/supervisedFineTuningJobs"
FREE = {
    *("CancelDpoJob", "CancelReinforcementFineTuningJob", "CancelRlorTrainerJob", "CancelSupervisedFineTuningJob"),
    *("CreateDataset", "CreateDeployedModel", "CreateEvaluator", "CreateModel", "CreateSecret", "PrepareModel"),
    *("UpdateDataset", "UpdateDeployedModel", "UpdateEvaluator", "UpdateModel", "UpdateSecret", "ImportModel"),
    *("GetDatasetUploadEndpoint", "GetEvaluatorUploadEndpoint", "GetModelUploadEndpoint", "UploadDataset"),
    *("ValidateDatasetUpload", "ValidateEvaluatorUpload", "UploadEvaluatorSource"),
}
"""All methods that change something, delete nothing, and cost nothing. Whatever is new needs a person to say so."""


def reason_of(response: Any) -> str:
    return response.json()["error"]["details"][0]["reason"]


def test_the_free_methods_are_exactly_these() -> None:
    free: set[str] = set()
    for route in routes().values():
        entry = pilot_methods().get(route.method)
        kind = entry.kind if entry else route.action
        if route.surface != "control" and route.action not in ("read", "delete"):
            call = Call(route_of(route.method), route.path, {}, [])
            free |= {route.method} if is_free(Verdict(route.method, "", kind, True, "", ""), call) else set()
    assert free == FREE


def test_a_job_is_refused_and_says_what_to_do(bench: Any, job_body: Any) -> None:
    ben = bench.serve(BEN)
    refused = ben.post(JOBS, params={"supervisedFineTuningJobId": "ft-1"}, json=job_body())
    assert (refused.status_code, reason_of(refused)) == (403, "spend.key-direct")
    assert "session create" in refused.json()["error"]["message"]
    assert bench.platform.seen == []
    free = bench.serve(replace(BEN, limited=False))
    assert free.post(JOBS, params={"supervisedFineTuningJobId": "ft-1"}, json=job_body()).status_code == 200


@pytest.mark.parametrize(
    ("verb", "path", "body"),
    [
        ("POST", "/v1/accounts/acme/deployments?deploymentId=d", {"baseModel": "accounts/acme/models/m"}),
        ("PATCH", "/v1/accounts/acme/deployments/d:scale", {"replicaCount": 8}),
        ("PATCH", "/v1/accounts/acme/deployments/d", {"minReplicaCount": 8}),
        ("POST", "/v1/accounts/acme/deployments/d:undelete", {}),
        ("POST", "/v1/accounts/acme/dpoJobs/j:resume", {}),
        ("POST", "/v1/accounts/acme/supervisedFineTuningJobs/j:resume", {}),
        ("POST", "/v1/accounts/acme/batchInferenceJobs", {"model": "accounts/fireworks/models/m"}),
        ("POST", "/v1/chat/completions", {"model": "accounts/fireworks/models/m", "messages": []}),
        ("POST", "/inference/v1/completions", {"model": "accounts/acme/models/m", "prompt": "x"}),
    ],
)
def test_what_can_cost_money_never_reaches_the_platform(bench: Any, verb: str, path: str, body: Any) -> None:
    refused = bench.serve(BEN).request(verb, path, json=body)
    assert refused.status_code == 403, refused.text
    assert reason_of(refused) == "spend.key-direct"
    assert bench.platform.seen == []


def test_reading_ending_and_asking_a_deployment_go_on(bench: Any, chat_body: dict[str, Any]) -> None:
    ben = bench.serve(BEN)
    assert ben.get("/v1/accounts/acme/models").status_code == 200
    assert ben.post("/v1/chat/completions", json=chat_body).status_code == 200
    bench.platform.resources["accounts/acme/supervisedFineTuningJobs/ft-1"] = {"name": "x"}
    assert ben.post(f"{JOBS}/ft-1:cancel", json={}).status_code == 200
    assert ben.delete(f"{JOBS}/ft-1").status_code == 200


def dearer(book: PriceBook) -> PriceBook:
    assert book.machine_hour is not None
    return book.model_copy(update={"machine_hour": book.machine_hour * 2})


def test_a_grant_is_charged_by_the_prices_it_was_approved_with(bench: Any, deployment_grant: Any) -> None:
    """A price book that is edited later neither refuses nor changes what was approved."""
    bench.approve(deployment_grant(), prices=bench.gateway.prices)
    bench.gateway.prices = dearer(bench.gateway.prices)
    body = {
        "baseModel": "accounts/acme/models/out-1",
        "minReplicaCount": 0,
        "maxReplicaCount": 1,
        "autoscalingPolicy": {"scaleToZeroWindow": "300s"},
    }
    params, headers = {"deploymentId": "dep-1"}, {"idempotency-key": "d"}
    response = bench.me.post("/v1/accounts/acme/deployments", params=params, json=body, headers=headers)
    assert response.status_code == 200, response.text
    (running,) = bench.cost().running
    assert (running.usd_per_hour, running.may_still_cost) == (bench.cost().reserved, bench.cost().reserved)
    assert bench.cost().may_still_cost == bench.cost().reserved
