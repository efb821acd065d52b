"""Deployments and LoRA addons through the official SDK: replicas come and go, engines really load, time is billed."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import fireworks
import httpx
import pytest
from fireworks import Fireworks

from tests.fixtures.platform import PlatformServer, wait_until

SHORT = {"scaleToZeroWindow": "2s"}
HELLO = [{"role": "user", "content": "hello"}]


def ask(sdk: Fireworks, model: str, seconds: float = 90) -> Any:
    """A completion, with the documented patience for a deployment that scales up [P76]."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return sdk.chat.completions.create(model=model, messages=HELLO, max_tokens=4, temperature=0)  # pyright: ignore[reportArgumentType]
        except fireworks.InternalServerError as error:
            if error.status_code != 503 or time.monotonic() > deadline:
                raise
        time.sleep(0.2)


def usage(server: PlatformServer, **query: Any) -> dict[str, Any]:
    today = datetime.now(UTC)
    span = {"startTime": (today - timedelta(days=1)).isoformat(), "endTime": (today + timedelta(days=1)).isoformat()}
    with server.http() as http:
        return http.get(f"/v1/accounts/{server.account}/billingUsage", params=span | query).raise_for_status().json()


def seconds_of(server: PlatformServer, deployment: str) -> float:
    rows = usage(server, usageType="DEDICATED_DEPLOYMENT", groupBy="deployment_name")["dedicatedCosts"]
    name = f"accounts/{server.account}/deployments/{deployment}"
    return sum(float(row["acceleratorSeconds"]) for row in rows if row["group"]["deployment_name"] == name)


@pytest.fixture(scope="module")
def adapters(
    platform_server: PlatformServer, tiny_base: str, make_tiny_adapter: Callable[[int, int], Path]
) -> list[str]:
    """Two READY LoRA models that answer differently from their base, and from each other."""
    return [upload(platform_server, f"lora-{seed}", make_tiny_adapter(seed, 4), tiny_base) for seed in (1, 2)]


def upload(server: PlatformServer, model_id: str, folder: Path, base: str) -> str:
    files = [folder / "adapter_config.json", folder / "adapter_model.safetensors"]
    details = {"baseModel": base, "r": 4, "targetModules": ["q_proj"]}
    with server.http() as http:
        prefix = f"/v1/accounts/{server.account}/models"
        body = {"modelId": model_id, "model": {"kind": "HF_PEFT_ADDON", "peftDetails": details}}
        name = http.post(prefix, json=body).raise_for_status().json()["name"]
        sizes = {file.name: str(file.stat().st_size) for file in files}
        answer = http.post(f"{prefix}/{model_id}:getUploadEndpoint", json={"filenameToSize": sizes}).raise_for_status()
        for file in files:
            size = file.stat().st_size
            headers = {"X-Goog-Content-Length-Range": f"{size},{size}"}
            url = answer.json()["filenameToSignedUrls"][file.name]
            httpx.put(url, content=file.read_bytes(), headers=headers).raise_for_status()
        http.get(f"{prefix}/{model_id}:validateUpload").raise_for_status()
    return name


def test_it_sleeps_until_asked_and_again_after_its_window(
    sdk: Fireworks, platform_server: PlatformServer, tiny_base: str
) -> None:
    created = sdk.deployments.create(base_model=tiny_base, deployment_id="sleepy", autoscaling_policy=SHORT)  # pyright: ignore[reportArgumentType]
    assert (created.min_replica_count, created.max_replica_count) == (0, 1)
    assert created.deployment_shape == "accounts/fireworks/deploymentShapes/tiny-base-minimal/versions/v1"
    wait_until(lambda: sdk.deployments.get("sleepy").state == "READY")
    assert sdk.deployments.get("sleepy").replica_count == 0
    with pytest.raises(fireworks.InternalServerError) as refused:
        sdk.chat.completions.create(model="accounts/acme/deployments/sleepy", messages=HELLO)  # pyright: ignore[reportArgumentType]
    assert refused.value.status_code == 503
    assert refused.value.body["error"]["code"] == "DEPLOYMENT_SCALING_UP"  # pyright: ignore[reportIndexIssue, reportOptionalSubscript, reportGeneralTypeIssues]
    assert sdk.deployments.get("sleepy").desired_replica_count == 1
    assert ask(sdk, "accounts/acme/deployments/sleepy").choices[0].message.content
    assert sdk.deployments.get("sleepy").replica_count == 1
    wait_until(lambda: sdk.deployments.get("sleepy").replica_count == 0)
    asleep = sdk.deployments.get("sleepy")
    assert (asleep.state, asleep.desired_replica_count) == ("READY", 0)
    served = seconds_of(platform_server, "sleepy")
    assert 2 <= served < 60
    time.sleep(1.5)
    assert seconds_of(platform_server, "sleepy") == served


def test_delete_is_soft_and_can_be_undone(sdk: Fireworks, tiny_base: str) -> None:
    sdk.deployments.create(base_model=tiny_base, deployment_id="phoenix")
    sdk.deployments.delete("phoenix")
    gone = sdk.deployments.get("phoenix")
    assert gone.state == "DELETED"
    assert gone.purge_time
    assert gone.delete_time
    assert gone.purge_time > gone.delete_time
    assert "accounts/acme/deployments/phoenix" not in [row.name for row in sdk.deployments.list()]
    assert "accounts/acme/deployments/phoenix" in [row.name for row in sdk.deployments.list(show_deleted=True)]
    with pytest.raises(fireworks.NotFoundError):
        sdk.chat.completions.create(model="accounts/acme/deployments/phoenix", messages=HELLO)  # pyright: ignore[reportArgumentType]
    with pytest.raises(fireworks.ConflictError):
        sdk.deployments.create(base_model=tiny_base, deployment_id="phoenix")
    assert sdk.deployments.undelete("phoenix", body={}).state == "CREATING"
    wait_until(lambda: sdk.deployments.get("phoenix").state == "READY")
    sdk.deployments.delete("phoenix", hard=True)
    with pytest.raises(fireworks.NotFoundError):
        sdk.deployments.get("phoenix")


def test_it_ends_at_its_expire_time(sdk: Fireworks, tiny_base: str) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=2)
    sdk.deployments.create(base_model=tiny_base, deployment_id="mayfly", expire_time=soon)
    wait_until(lambda: sdk.deployments.get("mayfly").state == "DELETED", 20)
    status = sdk.deployments.get("mayfly").status
    assert status
    assert status.message == "Its expire time has come."


def test_update_needs_a_mask_or_replaces_everything(
    sdk: Fireworks, platform_server: PlatformServer, tiny_base: str
) -> None:
    sdk.deployments.create(base_model=tiny_base, deployment_id="changing", display_name="One", description="Two")
    with platform_server.http() as http:
        url = "/v1/accounts/acme/deployments/changing"
        http.patch(url, params={"updateMask": "display_name"}, json={"displayName": "Three"}).raise_for_status()
        changed = sdk.deployments.get("changing")
        assert (changed.display_name, changed.description) == ("Three", "Two")
        refused = http.patch(url, params={"updateMask": "base_model"}, json={"baseModel": "x"})
        assert refused.status_code == 400
    replaced = sdk.deployments.update("changing", base_model=tiny_base, display_name="Four")
    assert (replaced.display_name, replaced.description) == ("Four", "")
    with pytest.raises(fireworks.BadRequestError, match="baseModel cannot be changed"):
        sdk.deployments.update("changing", base_model="accounts/fireworks/models/other")
    sdk.deployments.delete("changing", hard=True)


def test_addons_answer_by_their_names(
    sdk: Fireworks, platform_server: PlatformServer, tiny_base: str, adapters: list[str]
) -> None:
    sdk.deployments.create(base_model=tiny_base, deployment_id="multi", enable_addons=True, min_replica_count=1)
    loaded = [sdk.lora.load(model=name, deployment="accounts/acme/deployments/multi") for name in adapters]
    assert {row.state for row in loaded} == {"DEPLOYING"}
    ids = [(row.name or "").rsplit("/", 1)[-1] for row in loaded]
    wait_until(lambda: {sdk.lora.get(row).state for row in ids} == {"DEPLOYED"})
    texts = {name: ask(sdk, name).choices[0].message.content for name in ("accounts/acme/deployments/multi", *adapters)}
    assert len(set(texts.values())) == 3
    hashed = ask(sdk, f"{adapters[0]}#accounts/acme/deployments/multi")
    assert hashed.choices[0].message.content == texts[adapters[0]]
    with pytest.raises(fireworks.ConflictError, match="is already loaded on"):
        sdk.lora.load(model=adapters[0], deployment="multi")
    sdk.lora.unload(ids[0])
    with pytest.raises(fireworks.NotFoundError):
        sdk.chat.completions.create(model=adapters[0], messages=HELLO)  # pyright: ignore[reportArgumentType]
    assert ask(sdk, adapters[1]).choices[0].message.content == texts[adapters[1]]
    assert seconds_of(platform_server, "multi") > 0
    with platform_server.http() as http:
        models = {row["id"] for row in http.get("/inference/v1/models").json()["data"]}
    assert adapters[1] in models
    assert adapters[0] not in models
    sdk.deployments.delete("multi", ignore_checks=True, hard=True)


def test_a_lora_alone_is_merged_and_answers_as_it_did_as_an_addon(
    sdk: Fireworks, tiny_base: str, adapters: list[str]
) -> None:
    sdk.deployments.create(base_model=adapters[0], deployment_id="merged", min_replica_count=1)
    sdk.deployments.create(base_model=tiny_base, deployment_id="plain", min_replica_count=1)
    merged, plain = (ask(sdk, f"accounts/acme/deployments/{name}").choices[0].message for name in ("merged", "plain"))
    assert merged.content != plain.content
    assert ask(sdk, adapters[0]).choices[0].message.content == merged.content
    with pytest.raises(fireworks.BadRequestError, match="enableAddons needs a base model"):
        sdk.deployments.create(base_model=adapters[0], deployment_id="both", enable_addons=True)
    for name in ("merged", "plain"):
        sdk.deployments.delete(name, ignore_checks=True, hard=True)


def test_a_lora_that_does_not_fit_is_412(
    sdk: Fireworks, platform_server: PlatformServer, tiny_base: str, adapters: list[str], tiny_checkpoint: Path
) -> None:
    with platform_server.http() as http:
        body = {"source": str(tiny_checkpoint), "modelId": "other-base", "defaultBatchTokens": 128}
        http.post("/v1/accounts/fireworks/models:import", json=body).raise_for_status()
    sdk.deployments.create(base_model="accounts/fireworks/models/other-base", deployment_id="other", enable_addons=True)
    with pytest.raises(fireworks.APIStatusError, match="was trained on") as refused:
        sdk.lora.load(model=adapters[0], deployment="other")
    assert refused.value.status_code == 412
    sdk.deployments.create(base_model=tiny_base, deployment_id="closed")
    with pytest.raises(fireworks.BadRequestError, match="Addons are not enabled on"):
        sdk.lora.load(model=adapters[0], deployment="closed")
    for name in ("other", "closed"):
        sdk.deployments.delete(name, hard=True)


def test_documented_texts_of_refusals(sdk: Fireworks, tiny_base: str) -> None:
    with pytest.raises(fireworks.BadRequestError, match="the deployment shape version does not exist or you do not"):
        sdk.deployments.create(base_model=tiny_base, deployment_shape="accounts/x/deploymentShapes/y")
    with pytest.raises(fireworks.BadRequestError, match="addons cannot be enabled with quantized precisions"):
        sdk.deployments.create(base_model=tiny_base, enable_addons=True, precision="FP8")
    with pytest.raises(fireworks.NotFoundError, match="Model 'nowhere' not found in account"):
        sdk.deployments.create(base_model="nowhere")


def test_scale_by_hand(sdk: Fireworks, tiny_base: str) -> None:
    sdk.deployments.create(base_model=tiny_base, deployment_id="by-hand")
    sdk.deployments.scale("by-hand", replica_count=1)
    wait_until(lambda: sdk.deployments.get("by-hand").replica_count == 1)
    sdk.deployments.scale("by-hand", replica_count=0)
    wait_until(lambda: sdk.deployments.get("by-hand").replica_count == 0)
    with pytest.raises(fireworks.BadRequestError, match="Invalid replicaCount 2"):
        sdk.deployments.scale("by-hand", replica_count=2)
    sdk.deployments.delete("by-hand", hard=True)


def test_validate_only_creates_nothing(sdk: Fireworks, tiny_base: str) -> None:
    described = sdk.deployments.create(base_model=tiny_base, deployment_id="ghost", validate_only=True)
    assert described.max_replica_count == 1
    with pytest.raises(fireworks.NotFoundError):
        sdk.deployments.get("ghost")


def test_usage_checks_its_parameters(platform_server: PlatformServer) -> None:
    with platform_server.http() as http:
        url = "/v1/accounts/acme/billingUsage"
        assert "Missing required parameter 'startTime'" in http.get(url).json()["message"]
        span = {"startTime": "2026-01-01T00:00:00Z", "endTime": "2026-03-01T00:00:00Z"}
        assert "by at most 31 days" in http.get(url, params=span).json()["message"]
    assert usage(platform_server, usageType="SERVERLESS") == {"serverlessCosts": []}
    kept = usage(platform_server, groupBy="deployment_name", **{"filter[deployment_name][values]": "nobody"})
    assert kept["dedicatedCosts"] == []
