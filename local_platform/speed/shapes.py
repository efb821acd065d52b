"""Deployment shapes with their versions [P78], and training shapes [P134, P135] with what this machine can do.

One machine has one way to serve and one way to train each base model, so there is one shape of each kind per base
model, and the words `default`, `fast`, `throughput`, `cost` and `minimal` all mean it. Shapes are derived from the base
models; nobody creates them. `localThroughput` of a training shape is a local extension that plans are made from.
"""

import time
from typing import Annotated, Any

from fastapi import APIRouter, Body, Request

from local_platform.auth import CallerDep
from local_platform.bodies import parse_body
from local_platform.context import Platform, PlatformDep
from local_platform.resources import Json, mask, select_rows
from local_platform.speed.machine import accelerator
from local_platform.tables import ModelRow
from local_platform.workers import Workers, WorkersDep
from pilotlight.clock import to_rfc3339
from pilotlight.errors import InvalidArgument, NotFound
from pilotlight.listing import list_page, parse_list_params
from pilotlight.names import CATALOGUE_ACCOUNT, expand_name, parse_name
from pilotlight.wire import Wire

router = APIRouter(tags=["shapes"])
SHORTHANDS = ("default", "fast", "throughput", "cost", "minimal")
NO_SHAPE = "the deployment shape version does not exist or you do not have access to it"
VERSION = "v1"
WAIT_SECONDS = 90.0
"""How long training shapes are kept back while a first measurement runs."""
_SUFFIX = "-minimal"


class _WantedDeployment(Wire):
    base_model: str
    enable_addons: bool = False


class _WantedRequest(Wire):
    parent: str = ""
    deployment: _WantedDeployment


class MatchRequest(Wire):
    """Body of deploymentShapeVersions:match."""

    create_deployment_request: _WantedRequest


def resolve_shape(reference: str, base_model: str) -> str:
    """The version name of the shape a deployment of `base_model` uses. Raises InvalidArgument."""
    shape = _shape_name(base_model)
    version = f"{shape}/versions/{VERSION}"
    if reference in ("", *SHORTHANDS, shape, version, shape.rsplit("/", 1)[-1]):
        return version
    raise InvalidArgument(NO_SHAPE, hint=f"For this base model use {shape}.")


@router.get("/v1/accounts/{account}/deploymentShapes")
def list_shapes(account: str, request: Request, platform: PlatformDep, caller: CallerDep) -> Json:
    """One page of deployment shapes; `targetModel` keeps those of one base model."""
    target = request.query_params.get("targetModel", "")
    shapes = [_shape(model) for model in _bases(platform, account) if target in ("", model.name)]
    return list_page(shapes, parse_list_params(request.query_params), "deploymentShapes")


@router.get("/v1/accounts/{account}/deploymentShapes/{shape}/versions")
def list_versions(account: str, shape: str, request: Request, platform: PlatformDep, caller: CallerDep) -> Json:
    """One page of versions; `-` stands for every account or shape [P7]."""
    models = [m for m in _bases(platform, account) if shape == "-" or _shape_name(m.name).endswith(f"/{shape}")]
    versions = [_version(model) for model in models]
    return list_page(versions, parse_list_params(request.query_params), "deploymentShapeVersions")


@router.get("/v1/accounts/{account}/deploymentShapes/{shape}/versions/{version}")
def get_version(
    account: str, shape: str, version: str, request: Request, platform: PlatformDep, caller: CallerDep
) -> Json:
    """One version."""
    if version != VERSION:
        raise NotFound(NO_SHAPE)
    return mask(request, _version(_model_of(platform, account, shape)))


@router.get("/v1/accounts/{account}/deploymentShapes/{shape}")
def get_shape(account: str, shape: str, request: Request, platform: PlatformDep, caller: CallerDep) -> Json:
    """One deployment shape."""
    return mask(request, _shape(_model_of(platform, account, shape)))


@router.post("/v1/accounts/{account}/deploymentShapeVersions:match")
def match(account: str, platform: PlatformDep, caller: CallerDep, payload: Annotated[Any, Body()]) -> Json:
    """The versions that fit a deployment about to be created."""
    wanted = parse_body(MatchRequest, payload).create_deployment_request.deployment
    name = expand_name(wanted.base_model, account, "models")
    with platform.reading() as db:
        addon = db.get(ModelRow, name)
    base = addon.body["peftDetails"]["baseModel"] if addon and addon.body.get("kind") == "HF_PEFT_ADDON" else name
    versions = [_version(model) for model in _bases(platform, "-") if model.name == base]
    return {"deploymentShapeVersions": versions, "nextPageToken": "", "totalSize": len(versions)}


@router.get("/v1/accounts/{account}/trainingShapes")
def list_training_shapes(
    account: str, request: Request, platform: PlatformDep, workers: WorkersDep, caller: CallerDep
) -> Json:
    """One page of training shapes; waits for a first measurement that is under way."""
    deadline = time.monotonic() + WAIT_SECONDS
    models = [model for model in _bases(platform, account) if _tunable(model)]
    for model in models:
        workers.calibrator.request(model)
    shapes = [_training_shape(platform, workers, model, deadline) for model in models]
    return list_page(shapes, parse_list_params(request.query_params), "trainingShapes")


@router.get("/v1/accounts/{account}/trainingShapes/{shape}")
def get_training_shape(
    account: str, shape: str, request: Request, platform: PlatformDep, workers: WorkersDep, caller: CallerDep
) -> Json:
    """One training shape; its ID is the base model's."""
    for model in _bases(platform, account):
        if model.id == shape and _tunable(model):
            return mask(request, _training_shape(platform, workers, model, time.monotonic() + WAIT_SECONDS))
    raise NotFound(
        f"Training shape '{shape[:80]}' not found in account {account}.", hint="List them to see what exists."
    )


def _training_shape(platform: Platform, workers: Workers, model: ModelRow, deadline: float) -> Json:
    measured = workers.calibrator.wait(model, max(0.0, deadline - time.monotonic()))
    details = model.body["localDetails"]
    capacity = {
        "concurrentJobs": platform.settings.platform_jobs,
        "defaultBatchTokens": int(details["defaultBatchTokens"]),
    }
    return {
        "name": f"accounts/{model.account}/trainingShapes/{model.id}",
        "createTime": to_rfc3339(model.create_time),
        "updateTime": to_rfc3339(model.update_time),
        "baseModel": model.name,
        "acceleratorType": accelerator(),
        "acceleratorCount": 1,
        "nodeCount": 1,
        "maxSupportedContextLength": model.body["contextLength"],
        "supportsLora": True,
        "trainerMode": "LORA_TRAINER",
        **({"localThroughput": measured.model_dump(by_alias=True, exclude_none=True) | capacity} if measured else {}),
    }


def _shape(model: ModelRow) -> Json:
    return {
        "name": _shape_name(model.name),
        "createTime": to_rfc3339(model.create_time),
        "updateTime": to_rfc3339(model.update_time),
        "displayName": f"{model.body.get('displayName', model.id)[:50]} minimal",
        "description": "The way this machine serves the model: one replica, full precision, addons possible.",
        "baseModel": model.name,
        "presetType": "MINIMAL",
        "acceleratorCount": 1,
        "enableAddons": bool(model.body.get("supportsLora")),
        "maxContextLength": model.body["contextLength"],
        "parameterCount": str(model.body["localDetails"].get("parameterCount", 0)),
        "precision": "PRECISION_UNSPECIFIED",
    }


def _version(model: ModelRow) -> Json:
    return {
        "name": f"{_shape_name(model.name)}/versions/{VERSION}",
        "createTime": to_rfc3339(model.create_time),
        "snapshot": _shape(model),
        "validated": True,
        "latestValidated": True,
        "public": model.account == CATALOGUE_ACCOUNT,
    }


def _shape_name(base_model: str) -> str:
    parsed = parse_name(base_model, "models")
    return f"accounts/{parsed.account}/deploymentShapes/{parsed.id[: 63 - len(_SUFFIX)]}{_SUFFIX}"


def _model_of(platform: Platform, account: str, shape: str) -> ModelRow:
    for model in _bases(platform, account):
        if _shape_name(model.name).endswith(f"/{shape}"):
            return model
    raise NotFound(NO_SHAPE)


def _bases(platform: Platform, account: str) -> list[ModelRow]:
    """READY base models of an account; `-` is the platform's own and the catalogue."""
    with platform.reading() as db:
        rows = select_rows(db, ModelRow, account, "READY")
    return [row for row in rows if row.body.get("kind") == "HF_BASE_MODEL"]


def _tunable(model: ModelRow) -> bool:
    return bool(model.body.get("tunable"))
