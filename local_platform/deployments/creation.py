"""Creating and changing a deployment: what it refers to is checked and its defaults are filled in [P70-P76]."""

import secrets
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlmodel import Session

from local_platform.bodies import parse_body
from local_platform.context import Platform
from local_platform.deployments.fields import MUTABLE, DeploymentRequest, check_supported, most_replicas
from local_platform.deployments.state import DeployedState, DeploymentState
from local_platform.resources import Json, find, insert, select_rows, update_body
from local_platform.speed.shapes import resolve_shape
from local_platform.tables import DeployedModelRow, DeploymentRow, ModelRow
from pilotlight.clock import now, to_rfc3339
from pilotlight.errors import FailedPrecondition, InvalidArgument, NotFound
from pilotlight.identity import Principal
from pilotlight.listing import apply_update
from pilotlight.names import CATALOGUE_ACCOUNT, check_id, expand_name, parse_name

_LATEST = datetime(3000, 1, 1, tzinfo=UTC)


def find_deployable(db: Session, account: str, reference: str) -> ModelRow:
    """A READY model of the account or the catalogue. Raises NotFound, FailedPrecondition, InvalidArgument."""
    name = expand_name(reference, account, "models")
    row = find(db, ModelRow, name) if parse_name(name).account in (account, CATALOGUE_ACCOUNT) else None
    if row is None:
        raise NotFound(f"Model '{reference[:160]}' not found in account.", hint="List models to see them.")
    if row.state != "READY":
        raise FailedPrecondition(f"Model {name} is {row.state}, not READY.", hint="Wait until its upload is complete.")
    return row


def describe_deployment(
    platform: Platform, db: Session, caller: Principal, account: str, request: DeploymentRequest
) -> Json:
    """The body of the deployment a request asks for. Raises InvalidArgument, NotFound, FailedPrecondition."""
    check_supported(request, timedelta(seconds=platform.settings.platform_minimum_to_zero_seconds))
    model = find_deployable(db, account, request.base_model)
    is_addon = model.body.get("kind") == "HF_PEFT_ADDON"
    base = find_deployable(db, account, model.body["peftDetails"]["baseModel"]) if is_addon else model
    if is_addon and request.enable_addons:
        raise InvalidArgument("enableAddons needs a base model: a LoRA is deployed with its weights merged.")
    if request.max_context_length > base.body["contextLength"] or request.max_context_length < 0:
        limit = base.body["contextLength"]
        raise InvalidArgument(f"Invalid maxContextLength {request.max_context_length}: the model supports {limit}.")
    body = {
        **_changeable(request),
        "baseModel": model.name,
        "deploymentShape": resolve_shape(request.deployment_shape, base.name),
        "maxContextLength": request.max_context_length or base.body["contextLength"],
        "placement": {"multiRegion": "GLOBAL"},
        "createdBy": caller.email,
        "status": {"code": "OK", "message": ""},
        "_base": base.name,
        "_addon": model.name if is_addon else None,
    }
    return {field: value for field, value in body.items() if value is not None}


def insert_deployment(
    db: Session, account: str, deployment_id: str, body: Json, *, deploy_model: bool
) -> DeploymentRow:
    """Insert a described deployment, and deploy its model to it. The caller commits. Raises AlreadyExists."""
    deployment_id = check_id(deployment_id or f"d-{secrets.token_hex(4)}", "deploymentId")
    name = f"accounts/{account}/deployments/{deployment_id}"
    row = insert(db, DeploymentRow, name, body, DeploymentState.CREATING)
    if deploy_model:
        insert_deployed(db, row, body["baseModel"], body["createdBy"])
    return row


def insert_deployed(
    db: Session, deployment: DeploymentRow, model: str, created_by: str, **fields: Any
) -> DeployedModelRow:
    """A deployed model; the default one of its model unless there is another already. The caller commits."""
    siblings = [row for row in select_rows(db, DeployedModelRow, deployment.account) if row.body["model"] == model]
    default = bool(fields.pop("default", False)) or not any(row.body["default"] for row in siblings)
    if default:
        for sibling in siblings:
            update_body(db, sibling, {"default": False})
    body = {
        "model": model,
        "deployment": deployment.name,
        "default": default,
        "serverless": False,
        "public": False,
        "createdBy": created_by,
        "status": {"code": "OK", "message": ""},
        **{field: value for field, value in fields.items() if value},
    }
    name = f"accounts/{deployment.account}/deployedModels/{parse_name(model).id[:54]}-{secrets.token_hex(4)}"
    return insert(db, DeployedModelRow, name, body, DeployedState.DEPLOYING)


def change_deployment(
    platform: Platform, db: Session, row: DeploymentRow, payload: Json, paths: Collection[str]
) -> None:
    """Apply an update to the changeable fields of `paths`; the caller commits.

    Raises InvalidArgument when baseModel differs or a new value cannot be honoured.
    """
    sent = parse_body(DeploymentRequest, {"baseModel": row.body["baseModel"], **payload})
    if expand_name(sent.base_model, row.account, "models") != row.body["baseModel"]:
        raise InvalidArgument("baseModel cannot be changed.", hint="Create another deployment.")
    known = {field: row.body[field] for field in MUTABLE if field in row.body}
    merged = apply_update(known, sent.model_dump(mode="json", by_alias=True, exclude_unset=True), paths)
    request = parse_body(DeploymentRequest, {"baseModel": row.body["baseModel"], **merged})
    check_supported(request, timedelta(seconds=platform.settings.platform_minimum_to_zero_seconds))
    if request.enable_addons and row.body.get("_addon"):
        raise InvalidArgument("enableAddons needs a base model: a LoRA is deployed with its weights merged.")
    if not request.enable_addons and _has_addons(db, row):
        raise FailedPrecondition(
            "LoRA addons are loaded on this deployment.", hint="Unload them, or keep enableAddons."
        )
    update_body(db, row, _changeable(request))


def _has_addons(db: Session, row: DeploymentRow) -> bool:
    deployed = (item.body for item in select_rows(db, DeployedModelRow, row.account))
    return any(body["deployment"] == row.name and body["model"] != row.body["baseModel"] for body in deployed)


def _changeable(request: DeploymentRequest) -> Json:
    if request.expire_time is not None and request.expire_time.tzinfo is None:
        raise InvalidArgument("Invalid expireTime: it needs a time zone, such as 'Z' at its end.")
    if request.expire_time is not None and not now() < request.expire_time < _LATEST:
        raise InvalidArgument("Invalid expireTime: it lies in the past, or too far in the future.")
    return {
        "displayName": request.display_name,
        "description": request.description,
        "minReplicaCount": request.min_replica_count,
        "maxReplicaCount": most_replicas(request),
        "autoscalingPolicy": request.autoscaling_policy.model_dump(by_alias=True),
        "enableAddons": request.enable_addons,
        "expireTime": to_rfc3339(request.expire_time) if request.expire_time else None,
        "annotations": request.annotations,
    }
