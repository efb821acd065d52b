"""Routes of `deployments`: create, get, list, update, scale, delete, undelete [P70-P83]."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Request

from local_platform.auth import CallerDep, own
from local_platform.bodies import WireInt, parse_body
from local_platform.context import Platform, PlatformDep
from local_platform.deployments.creation import (
    change_deployment,
    describe_deployment,
    insert_deployed,
    insert_deployment,
)
from local_platform.deployments.fields import MUTABLE, DeploymentRequest
from local_platform.deployments.replicas import ReplicaBoard, keep_wish
from local_platform.deployments.state import DeploymentState
from local_platform.resources import COMMON_FIELDS, Json, get, mask, select_rows, update_body, wire
from local_platform.tables import DeploymentRow
from local_platform.workers import WorkersDep
from pilotlight.crashpoints import Point, reach
from pilotlight.errors import FailedPrecondition, InvalidArgument
from pilotlight.identity import check_writer
from pilotlight.listing import list_page, parse_list_params, parse_update_mask
from pilotlight.strict_json import StrictRoute
from pilotlight.wire import Wire

router = APIRouter(tags=["deployments"], route_class=StrictRoute)
_COLLECTION = "/v1/accounts/{account}/deployments"
_FILTER_FIELDS = COMMON_FIELDS | MUTABLE | {"baseModel", "createdBy", "deploymentShape", "replicaCount", "deleteTime"}


class _ScaleRequest(Wire):
    replica_count: WireInt = 0


@router.post(_COLLECTION)
def create(
    account: str,
    request: Request,
    platform: PlatformDep,
    workers: WorkersDep,
    caller: CallerDep,
    payload: Annotated[Any, Body()],
) -> Json:
    """Create a deployment. With the default of no minimum replicas it comes up at its first request."""
    query = request.query_params
    with platform.writing() as db:
        body = describe_deployment(platform, db, caller, account, parse_body(DeploymentRequest, payload))
        auto_deploy = query.get("disableAutoDeploy") != "true"
        row = insert_deployment(db, account, query.get("deploymentId", ""), body, deploy_model=auto_deploy)
        if query.get("validateOnly") == "true":
            db.rollback()
            return {"name": f"accounts/{account}/deployments/{query.get('deploymentId', '')}", **_public(body)}
        reach(Point.PLATFORM_DEPLOYMENT_WRITTEN)
        db.commit()
        reach(Point.PLATFORM_DEPLOYMENT_COMMITTED)
        name = row.name
    workers.board.ask(name, int(body["minReplicaCount"]))
    return _show(platform, workers.board, request, name)


@router.get(_COLLECTION)
def list_deployments(
    account: str, request: Request, platform: PlatformDep, workers: WorkersDep, caller: CallerDep
) -> Json:
    """One page of deployments; deleted ones only with showDeleted."""
    show_deleted = request.query_params.get("showDeleted") == "true"
    with platform.reading() as db:
        rows = select_rows(db, DeploymentRow, own(account, caller))
    shown = [_wire(row, workers.board) for row in rows if show_deleted or row.state != DeploymentState.DELETED]
    return list_page(shown, parse_list_params(request.query_params), "deployments", _FILTER_FIELDS)


@router.patch(_COLLECTION + "/{deployment}:scale")
def scale(
    account: str,
    deployment: str,
    platform: PlatformDep,
    workers: WorkersDep,
    caller: CallerDep,
    payload: Annotated[Any, Body()],
) -> Json:
    """Set how many replicas are wanted now; the autoscaling policy goes on from there."""
    count = parse_body(_ScaleRequest, payload).replica_count
    with platform.writing() as db:
        row = _alive(get(db, DeploymentRow, _name(account, deployment)))
        check_writer(caller, row.body["createdBy"])
        low, high = row.body["minReplicaCount"], row.body["maxReplicaCount"]
        if not low <= count <= high:
            raise InvalidArgument(f"Invalid replicaCount {count}: this deployment allows {low} to {high}.")
        keep_wish(db, row.name, count)
        name = row.name
        db.commit()
    workers.board.ask(name, count)
    return {}


@router.post(_COLLECTION + "/{deployment}:undelete")
def undelete(
    account: str, deployment: str, request: Request, platform: PlatformDep, workers: WorkersDep, caller: CallerDep
) -> Json:
    """Bring back a deleted deployment before its purge time; addons are to be loaded again."""
    with platform.writing() as db:
        row = get(db, DeploymentRow, _name(account, deployment))
        check_writer(caller, row.body["createdBy"])
        if row.state != DeploymentState.DELETED:
            raise FailedPrecondition(f"{row.name} is {row.state}, not DELETED.")
        cleared = {"deleteTime": None, "purgeTime": None, "expireTime": None}
        update_body(db, row, cleared | {"status": {"code": "OK", "message": ""}}, DeploymentState.CREATING)
        insert_deployed(db, row, row.body["baseModel"], caller.email)
        db.commit()
        name, minimum = row.name, int(row.body["minReplicaCount"])
    workers.board.ask(name, minimum)
    return _show(platform, workers.board, request, name)


@router.get(_COLLECTION + "/{deployment}")
def get_deployment(
    account: str, deployment: str, request: Request, platform: PlatformDep, workers: WorkersDep, caller: CallerDep
) -> Json:
    """One deployment, also a deleted one until it is purged."""
    return _show(platform, workers.board, request, _name(account, deployment))


@router.patch(_COLLECTION + "/{deployment}")
def update(
    account: str,
    deployment: str,
    request: Request,
    platform: PlatformDep,
    workers: WorkersDep,
    caller: CallerDep,
    payload: Annotated[dict[str, Any], Body()],
) -> Json:
    """Change the fields of the update mask; without a mask, every changeable field, absent ones to defaults [P17]."""
    query = request.query_params
    paths = parse_update_mask(query.get("updateMask") or query.get("update_mask"), MUTABLE)
    with platform.writing() as db:
        row = _alive(get(db, DeploymentRow, _name(account, deployment)))
        check_writer(caller, row.body["createdBy"])
        change_deployment(platform, db, row, payload, paths)
        db.commit()
        name = row.name
    workers.board.changed.set()
    return _show(platform, workers.board, request, name)


@router.delete(_COLLECTION + "/{deployment}")
def delete_deployment(
    account: str, deployment: str, request: Request, platform: PlatformDep, workers: WorkersDep, caller: CallerDep
) -> Json:
    """Soft-delete, or with `hard` remove for good. Refused while requests run, unless `ignoreChecks`."""
    query, hard = request.query_params, request.query_params.get("hard") == "true"
    with platform.reading() as db:
        row = get(db, DeploymentRow, _name(account, deployment))
    check_writer(caller, row.body["createdBy"])
    if not hard:
        _alive(row)
    if query.get("ignoreChecks") != "true" and workers.busy(row):
        raise FailedPrecondition(f"{row.name} is answering requests.", hint="Pass ignoreChecks=true to delete it now.")
    workers.autoscaler.delete(row.name, hard=hard)
    return {}


def _show(platform: Platform, board: ReplicaBoard, request: Request, name: str) -> Json:
    with platform.reading() as db:
        return mask(request, _wire(get(db, DeploymentRow, name), board))


def _wire(row: DeploymentRow, board: ReplicaBoard) -> Json:
    replica = board.replica(row.name)
    ready, wanted = int(replica.ready), replica.desired if row.state != DeploymentState.DELETED else 0
    counts = {"readyReplicaCount": ready, "initializingReplicaCount": max(0, wanted - ready)}
    return wire(row) | {"desiredReplicaCount": wanted, "replicaCount": ready, "replicaStats": counts}


def _public(body: Json) -> Json:
    return {field: value for field, value in body.items() if not field.startswith("_")}


def _alive(row: DeploymentRow) -> DeploymentRow:
    if row.state == DeploymentState.DELETED:
        raise FailedPrecondition(f"{row.name} is deleted.", hint="Undelete it first.")
    return row


def _name(account: str, deployment: str) -> str:
    return f"accounts/{account}/deployments/{deployment}"
