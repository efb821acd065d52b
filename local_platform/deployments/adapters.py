"""Routes of `deployedModels`: load a LoRA onto a deployment, list, update, unload [P71-P74, P91]."""

from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Body, Request
from pydantic import Field
from sqlmodel import Session

from local_platform.auth import CallerDep, own
from local_platform.bodies import parse_body
from local_platform.context import PlatformDep
from local_platform.deployments.adapter_fit import find_misfit
from local_platform.deployments.creation import find_deployable, insert_deployed
from local_platform.deployments.replicas import keep_wish
from local_platform.deployments.state import DeploymentState
from local_platform.resources import (
    COMMON_FIELDS,
    Json,
    delete,
    get,
    list_resources,
    mask,
    select_rows,
    update_body,
    wire,
)
from local_platform.serving.targets import AdapterFailed
from local_platform.tables import DeployedModelRow, DeploymentRow, ModelRow
from local_platform.workers import WorkersDep
from pilotlight.crashpoints import Point, reach
from pilotlight.errors import AlreadyExists, FailedPrecondition, InvalidArgument, ResourceExhausted
from pilotlight.identity import check_writer
from pilotlight.listing import apply_update, parse_update_mask
from pilotlight.names import expand_name
from pilotlight.strict_json import StrictRoute
from pilotlight.wire import Wire

MAX_ADDONS = 100
"""LoRA addons per base deployment [P73]."""
router = APIRouter(tags=["deployedModels"], route_class=StrictRoute)
_COLLECTION = "/v1/accounts/{account}/deployedModels"
_FILTER_FIELDS = COMMON_FIELDS | {"model", "deployment", "default", "displayName", "createdBy"}
_MUTABLE = frozenset({"default", "displayName", "description"})


class DeployedModelRequest(Wire):
    """What a caller may send to load or update."""

    model: str = ""
    deployment: str = ""
    display_name: str = Field(default="", max_length=63)
    description: str = Field(default="", max_length=999)
    default: bool = False
    public: bool = False
    serverless: bool = False


@router.post(_COLLECTION)
def load(
    account: str,
    request: Request,
    platform: PlatformDep,
    workers: WorkersDep,
    caller: CallerDep,
    payload: Annotated[Any, Body()],
) -> Json:
    """Load a LoRA onto a deployment of its base model; brings a sleeping deployment up."""
    asked = _check(parse_body(DeployedModelRequest, payload))
    replace = request.query_params.get("replaceMergedAddon") == "true"
    with platform.writing() as db:
        deployment = get(db, DeploymentRow, expand_name(asked.deployment, account, "deployments"))
        model = find_deployable(db, account, asked.model)
        _check_fit(db, deployment, model)
        for row in _addons(db, deployment):
            if row.body["model"] == model.name:
                raise AlreadyExists(f"{model.name} is already loaded on {deployment.name} as {row.name}.")
            if replace:
                delete(db, row)
        if len(_addons(db, deployment)) >= MAX_ADDONS:
            raise ResourceExhausted(f"{deployment.name} holds {MAX_ADDONS} LoRA addons, the most a deployment can.")
        fields = asked.model_dump(by_alias=True, include={"display_name", "description", "default"})
        row = insert_deployed(db, deployment, model.name, caller.email, **fields)
        keep_wish(db, deployment.name, 1)
        reach(Point.PLATFORM_LOAD_WRITTEN)
        db.commit()
        reach(Point.PLATFORM_LOAD_COMMITTED)
        db.refresh(row)
        shown, target = wire(row), row.body["deployment"]
    workers.board.ask(target)
    return shown


@router.get(_COLLECTION)
def list_deployed(account: str, request: Request, platform: PlatformDep, caller: CallerDep) -> Json:
    """One page of deployed models: base models on their deployments too."""
    with platform.reading() as db:
        return list_resources(db, DeployedModelRow, own(account, caller), request, "deployedModels", _FILTER_FIELDS)


@router.get(_COLLECTION + "/{deployed}")
def get_deployed(account: str, deployed: str, request: Request, platform: PlatformDep, caller: CallerDep) -> Json:
    """One deployed model."""
    with platform.reading() as db:
        return mask(request, wire(get(db, DeployedModelRow, _name(account, deployed))))


@router.patch(_COLLECTION + "/{deployed}")
def update(
    account: str,
    deployed: str,
    request: Request,
    platform: PlatformDep,
    caller: CallerDep,
    payload: Annotated[Any, Body()],
) -> Json:
    """Change display name, description, or make it the default target of its model."""
    query = request.query_params
    sent = parse_body(DeployedModelRequest, payload).model_dump(by_alias=True, exclude_unset=True)
    paths = parse_update_mask(query.get("updateMask") or query.get("update_mask"), _MUTABLE)
    with platform.writing() as db:
        row = get(db, DeployedModelRow, _name(account, deployed))
        check_writer(caller, row.body["createdBy"])
        for field in ("model", "deployment"):
            if sent.get(field, row.body[field]) != row.body[field]:
                raise InvalidArgument(f"{field} cannot be changed.", hint="Unload the model and load it again.")
        changed = apply_update({field: row.body.get(field) for field in _MUTABLE}, sent, paths)
        if changed.get("default"):
            for sibling in select_rows(db, DeployedModelRow, account):
                if sibling.body["model"] == row.body["model"] and sibling.name != row.name:
                    update_body(db, sibling, {"default": False})
        values = {field: changed.get(field) for field in _MUTABLE}
        update_body(db, row, values | {"default": bool(values["default"])})
        db.commit()
        db.refresh(row)
        return wire(row)


@router.delete(_COLLECTION + "/{deployed}")
def unload(account: str, deployed: str, platform: PlatformDep, workers: WorkersDep, caller: CallerDep) -> Json:
    """Unload a LoRA. The model a deployment was made for stays as long as the deployment."""
    with platform.reading() as db:
        row = get(db, DeployedModelRow, _name(account, deployed))
        deployment = get(db, DeploymentRow, row.body["deployment"])
    check_writer(caller, row.body["createdBy"])
    if row.body["model"] == deployment.body["baseModel"]:
        raise FailedPrecondition(f"{row.name} is what {deployment.name} serves.", hint="Delete the deployment.")
    workers.autoscaler.unload(row.name)
    return {}


def _check(asked: DeployedModelRequest) -> DeployedModelRequest:
    if not asked.model:
        raise InvalidArgument("Missing required field 'model'.")
    if not asked.deployment:
        raise InvalidArgument("Missing required field 'deployment'.", hint="LoRA addons need a dedicated deployment.")
    if asked.serverless or asked.public:
        raise InvalidArgument("LoRA addons cannot be serverless or public: they need a dedicated deployment.")
    return asked


def _check_fit(db: Session, deployment: DeploymentRow, model: ModelRow) -> None:
    """Raises FailedPrecondition for the deployment, AdapterFailed (412) for the LoRA."""
    if deployment.state == DeploymentState.DELETED:
        raise FailedPrecondition(f"{deployment.name} is deleted.", hint="Undelete it first.")
    if model.body.get("kind") != "HF_PEFT_ADDON":
        raise InvalidArgument(f"{model.name} is not a LoRA addon.", hint="Deploy a base model as a deployment.")
    if not deployment.body["enableAddons"]:
        raise FailedPrecondition(
            f"Addons are not enabled on {deployment.name}.", hint="Create it on the base model with enableAddons."
        )
    base, served = model.body["peftDetails"]["baseModel"], deployment.body["_base"]
    if base != served:
        raise AdapterFailed(f"{model.name} was trained on {base}, and {deployment.name} serves {served}.")
    base_row = get(db, ModelRow, base)
    if reason := find_misfit(_folder(model), _folder(base_row)):
        raise AdapterFailed(f"{model.name} does not fit {base}: {reason}.")


def _folder(model: ModelRow) -> Path:
    return Path(model.body["_directory"])


def _addons(db: Session, deployment: DeploymentRow) -> list[DeployedModelRow]:
    rows = select_rows(db, DeployedModelRow, deployment.account)
    mine = (row for row in rows if row.body["deployment"] == deployment.name)
    return [row for row in mine if row.body["model"] != deployment.body["baseModel"]]


def _name(account: str, deployed: str) -> str:
    return f"accounts/{account}/deployedModels/{deployed}"
