"""Routes of evaluators: create, upload, validate, read, change, delete [P99-P103]."""

import secrets
import shutil
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request

from local_platform.auth import CallerDep, own
from local_platform.context import Platform, PlatformDep
from local_platform.datasets.routes import EmptyBody, UploadEndpointBody
from local_platform.evaluators.build import accept_upload, log_path
from local_platform.evaluators.fields import REBUILDS, UPDATABLE, CreateBody, EvaluatorBody, check_sizes
from local_platform.resources import delete, get, insert, list_resources, mask, select_rows, update_body, wire
from local_platform.storage import signed, uploads
from local_platform.tables import EvaluatorRow
from local_platform.workers import WorkersDep
from pilotlight.errors import FailedPrecondition
from pilotlight.identity import check_writer
from pilotlight.listing import parse_update_mask
from pilotlight.names import check_id
from pilotlight.sources import ARCHIVE
from pilotlight.strict_json import StrictRoute

Json = dict[str, Any]
router = APIRouter(route_class=StrictRoute, tags=["evaluators"])
FIELDS = frozenset({"displayName", "description", "createdBy", "entryPoint", "requirements", "defaultDataset"})
_ONE = "/v1/accounts/{account}/evaluators/{evaluator}"


@router.post("/v1/accounts/{account}/evaluatorsV2")
def create_evaluator(account: str, body: CreateBody, platform: PlatformDep, caller: CallerDep) -> Json:
    """evaluators.create: in state BUILDING, which awaits its source."""
    identifier = check_id(body.evaluator_id or f"evaluator-{secrets.token_hex(6)}", "evaluatorId")
    name = f"accounts/{account}/evaluators/{identifier}"
    fields = {"source": {"type": "TYPE_UPLOAD"}, **body.evaluator.checked().fields()}
    with platform.writing() as db:
        row = insert(db, EvaluatorRow, name, {"createdBy": caller.email, **fields}, "BUILDING")
        resource = wire(row)
        db.commit()
    return resource


@router.get("/v1/accounts/{account}/evaluators")
def list_evaluators(request: Request, account: str, platform: PlatformDep, caller: CallerDep) -> Json:
    """evaluators.list."""
    with platform.reading() as db:
        return list_resources(db, EvaluatorRow, own(account, caller), request, "evaluators", FIELDS)


@router.post(_ONE + ":getUploadEndpoint")
def get_upload_endpoint(
    request: Request, account: str, evaluator: str, body: UploadEndpointBody, platform: PlatformDep, caller: CallerDep
) -> Json:
    """evaluators.getUploadEndpoint: a signed PUT URL for the archive; replaces an earlier call's."""
    name = _name(account, evaluator)
    sizes = check_sizes(signed.check_filenames(dict(body.filename_to_size)))
    _check_writer(platform, name, caller)
    upload = uploads.register_upload(platform, EvaluatorRow, name, sizes)
    return {"filenameToSignedUrls": signed.sign_uploads(platform, request, upload, sizes)}


@router.post(_ONE + ":validateUpload")
def validate_upload(
    account: str,
    evaluator: str,
    platform: PlatformDep,
    workers: WorkersDep,
    caller: CallerDep,
    body: EmptyBody | None = None,
) -> Json:
    """evaluators.validateUpload: idempotent; the build begins, and the state says how it ended."""
    _check_writer(platform, _name(account, evaluator), caller)
    accept_upload(platform, _name(account, evaluator))
    workers.builder.wake()
    return {}


@router.get(_ONE + ":getBuildLogEndpoint")
def get_build_log_endpoint(
    request: Request, account: str, evaluator: str, platform: PlatformDep, caller: CallerDep
) -> Json:
    """evaluators.getBuildLogEndpoint: a signed GET URL; empty before the first build has ended."""
    with platform.reading() as db:
        row = get(db, EvaluatorRow, _name(account, evaluator))
    path = log_path(platform, row.name)
    uri = signed.sign_download(platform, request, path, f"{row.id}-build.log") if path.is_file() else ""
    return {"buildLogSignedUri": uri}


@router.get(_ONE + ":getSourceCodeSignedUrl")
def get_source_code(request: Request, account: str, evaluator: str, platform: PlatformDep, caller: CallerDep) -> Json:
    """evaluators.getSourceCodeEndpoint: a signed GET URL of the archive."""
    with platform.reading() as db:
        row = get(db, EvaluatorRow, _name(account, evaluator))
    if "_source" not in row.body:
        raise FailedPrecondition(f"{row.name} has no source yet.", hint="Upload it with :getUploadEndpoint.")
    path: Path = platform.blobs.path(row.body["_source"])
    return {"filenameToSignedUrls": {ARCHIVE: signed.sign_download(platform, request, path, ARCHIVE)}}


@router.get(_ONE)
def get_evaluator(request: Request, account: str, evaluator: str, platform: PlatformDep, caller: CallerDep) -> Json:
    """evaluators.get."""
    with platform.reading() as db:
        return mask(request, wire(get(db, EvaluatorRow, _name(account, evaluator))))


@router.patch(_ONE)
def update_evaluator(
    request: Request,
    account: str,
    evaluator: str,
    body: EvaluatorBody,
    platform: PlatformDep,
    workers: WorkersDep,
    caller: CallerDep,
) -> Json:
    """evaluators.update: new requirements or entry point build again; `prepareCodeUpload` awaits new source."""
    query = request.query_params
    wanted = parse_update_mask(query.get("updateMask") or query.get("update_mask"), set(UPDATABLE))
    sent = {name: value for name, value in body.checked().fields().items() if name in UPDATABLE}
    sent = {name: value for name, value in sent.items() if not wanted or name in wanted}
    prepare = (query.get("prepareCodeUpload") or query.get("prepare_code_upload")) == "true"
    with platform.writing() as db:
        row = get(db, EvaluatorRow, _name(account, evaluator))
        check_writer(caller, row.body.get("createdBy"))
        again = "_source" in row.body and any(row.body.get(name) != sent[name] for name in REBUILDS & set(sent))
        more: Json = {"_source": None, "_queued": None} if prepare else {"_queued": True} if again else {}
        resource = wire(update_body(db, row, sent | more, "BUILDING" if more else None))
        db.commit()
    workers.builder.wake()
    return resource


@router.delete(_ONE)
def delete_evaluator(account: str, evaluator: str, platform: PlatformDep, caller: CallerDep) -> Json:
    """evaluators.delete: with its source and its log."""
    with platform.writing() as db:
        row = get(db, EvaluatorRow, _name(account, evaluator))
        check_writer(caller, row.body.get("createdBy"))
        uploads.forget_upload(platform, row)
        source = row.body.get("_source")
        others = [other.body.get("_source") for other in select_rows(db, EvaluatorRow) if other.name != row.name]
        delete(db, row)
        db.commit()
    if source and source not in others:
        platform.blobs.discard(source)
    shutil.rmtree(log_path(platform, row.name).parent, ignore_errors=True)
    return {}


def _name(account: str, evaluator: str) -> str:
    return f"accounts/{account}/evaluators/{evaluator}"


def _check_writer(platform: Platform, name: str, caller: CallerDep) -> None:
    with platform.reading() as db:
        check_writer(caller, get(db, EvaluatorRow, name).body.get("createdBy"))
