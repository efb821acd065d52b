"""Routes of datasets: create, upload, validate, read, rename, download, delete [P10, P38-P41]."""

import time
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import Field

from local_platform.auth import CallerDep, own
from local_platform.bodies import WireInt
from local_platform.context import PlatformDep
from local_platform.datasets import files as dataset_files
from local_platform.resources import delete, get, insert, list_resources, mask, select_rows, update_body, wire
from local_platform.storage import signed, uploads
from local_platform.storage.receiving import receive_multipart
from local_platform.tables import DatasetRow
from pilotlight.crashpoints import Point, reach
from pilotlight.errors import InvalidArgument, Unimplemented
from pilotlight.identity import Principal, check_writer
from pilotlight.listing import parse_update_mask
from pilotlight.names import check_id
from pilotlight.strict_json import StrictRoute
from pilotlight.wire import Wire

Json = dict[str, Any]
router = APIRouter(route_class=StrictRoute, tags=["datasets"])
FIELDS = frozenset(
    {
        "displayName",
        "createdBy",
        "exampleCount",
        "estimatedTokenCount",
        "estimatedTokenCounts",
        "averageTurnCount",
        "format",
        "rowKind",
        "contentHash",
        "sizeBytes",
        "warningCount",
        "status",
        "userUploaded",
        "sourceJobName",
        "externalUrl",
    }
)
_NOT_HERE = {
    "external_url": "the local platform reads no buckets; upload the file",
    "splitted": "the local platform does not split datasets; upload each part as a dataset",
    "transformed": "the local platform does not transform datasets; upload the result",
    "evaluation_result": "evaluation results are written by jobs, not by callers",
}


class DatasetBody(Wire):
    """The `dataset` object of create, and the body of update."""

    display_name: str = Field(default="", max_length=63)
    example_count: WireInt | None = Field(default=None, ge=0, le=2**63 - 1)
    """The caller's claim; replaced by what the file holds."""
    format: str | None = Field(default=None, pattern="^(FORMAT_UNSPECIFIED|CHAT|COMPLETION|RL)$")
    user_uploaded: dict[str, Any] | None = None
    eval_protocol: dict[str, Any] | None = None
    source_job_name: str | None = Field(default=None, max_length=300)
    external_url: str | None = None
    splitted: dict[str, Any] | None = None
    transformed: dict[str, Any] | None = None
    evaluation_result: dict[str, Any] | None = None


class CreateBody(Wire):
    """Body of datasets.create."""

    dataset_id: str
    dataset: DatasetBody
    source_dataset_id: str | None = None


class UploadEndpointBody(Wire):
    """Body of :getUploadEndpoint; sizes in bytes, as int64 strings."""

    filename_to_size: dict[str, WireInt]
    read_mask: str | None = None


class EmptyBody(Wire):
    """A body without fields."""


@router.post("/v1/accounts/{account}/datasets")
def create_dataset(account: str, body: CreateBody, platform: PlatformDep, caller: CallerDep) -> Json:
    """datasets.create: an empty dataset in state UPLOADING."""
    name = f"accounts/{account}/datasets/{check_id(body.dataset_id, 'datasetId')}"
    for field, reason in _NOT_HERE.items():
        if getattr(body.dataset, field) is not None:
            raise Unimplemented(f"{field} is not supported: {reason}.")
    if body.source_dataset_id:
        raise Unimplemented(f"sourceDatasetId is not supported: {_NOT_HERE['transformed']}.")
    fields = body.dataset.model_dump(by_alias=True, exclude_none=True, exclude={"example_count"})
    count = {"exampleCount": str(body.dataset.example_count)} if body.dataset.example_count is not None else {}
    with platform.writing() as db:
        row = insert(db, DatasetRow, name, {"createdBy": caller.email, **fields, **count}, "UPLOADING")
        resource = wire(row)
        reach(Point.PLATFORM_DATASET_WRITTEN)
        db.commit()
    reach(Point.PLATFORM_DATASET_COMMITTED)
    return resource


@router.get("/v1/accounts/{account}/datasets")
def list_datasets(request: Request, account: str, platform: PlatformDep, caller: CallerDep) -> Json:
    """datasets.list."""
    with platform.reading() as db:
        return list_resources(db, DatasetRow, own(account, caller), request, "datasets", FIELDS)


@router.post("/v1/accounts/{account}/datasets/{dataset}:upload")
async def upload_dataset(
    request: Request, account: str, dataset: str, platform: PlatformDep, caller: CallerDep
) -> Json:
    """datasets.upload: one multipart file of at most 150 MB, validated at once; valid makes the dataset READY."""
    name = f"accounts/{account}/datasets/{dataset}"
    await run_in_threadpool(_find_open, platform, name, caller)
    too_large = InvalidArgument(
        "The file is larger than 150 MB, the limit of :upload.",
        hint=f"Ask {name}:getUploadEndpoint for a signed URL, PUT the file there, then call :validateUpload.",
    )
    received = await receive_multipart(request, uploads.upload_folder(platform, uploads.MULTIPART), too_large)
    reach(Point.PLATFORM_UPLOAD_RECEIVED)
    filename = received.filename or f"{dataset}.jsonl"
    await run_in_threadpool(dataset_files.publish_file, platform, name, received.path, [filename], received.sha256)
    return {
        "id": dataset,
        "object": "file",
        "bytes": received.size,
        "created_at": int(time.time()),
        "filename": filename,
        "purpose": "fine-tune",
    }


@router.post("/v1/accounts/{account}/datasets/{dataset}:getUploadEndpoint")
def get_upload_endpoint(
    request: Request, account: str, dataset: str, body: UploadEndpointBody, platform: PlatformDep, caller: CallerDep
) -> Json:
    """datasets.getUploadEndpoint: signed PUT URLs; replaces an earlier call's."""
    name = f"accounts/{account}/datasets/{dataset}"
    sizes = signed.check_filenames(dict(body.filename_to_size))
    _find_open(platform, name, caller)
    upload = uploads.register_upload(platform, DatasetRow, name, sizes)
    return {"filenameToSignedUrls": signed.sign_uploads(platform, request, upload, sizes)}


@router.post("/v1/accounts/{account}/datasets/{dataset}:validateUpload")
def validate_upload(
    account: str, dataset: str, platform: PlatformDep, caller: CallerDep, body: EmptyBody | None = None
) -> Json:
    """datasets.validateUpload: idempotent; the dataset is READY when it answers 200."""
    dataset_files.publish_upload(platform, f"accounts/{account}/datasets/{dataset}")
    return {}


@router.get("/v1/accounts/{account}/datasets/{dataset}:getDownloadEndpoint")
def get_download_endpoint(
    request: Request,
    account: str,
    dataset: str,
    platform: PlatformDep,
    caller: CallerDep,
    download_lineage: Annotated[bool, Query(alias="downloadLineage")] = False,
) -> Json:
    """datasets.getDownloadEndpoint: a signed GET URL. Datasets here have no lineage beyond themselves."""
    name = f"accounts/{account}/datasets/{dataset}"
    path = platform.dataset_path(name)
    with platform.reading() as db:
        filename = get(db, DatasetRow, name).body.get("_filename") or f"{dataset}.jsonl"
    return {"filenameToSignedUrls": {filename: signed.sign_download(platform, request, path, filename)}}


@router.get("/v1/accounts/{account}/datasets/{dataset}")
def get_dataset(request: Request, account: str, dataset: str, platform: PlatformDep, caller: CallerDep) -> Json:
    """datasets.get."""
    with platform.reading() as db:
        return mask(request, wire(get(db, DatasetRow, f"accounts/{account}/datasets/{dataset}")))


@router.patch("/v1/accounts/{account}/datasets/{dataset}")
def update_dataset(
    request: Request, account: str, dataset: str, body: DatasetBody, platform: PlatformDep, caller: CallerDep
) -> Json:
    """datasets.update: the display name only; datasets are immutable [P10]."""
    sent = body.model_dump(by_alias=True, exclude_unset=True, exclude={"display_name"}, exclude_none=True)
    query = request.query_params
    parse_update_mask(query.get("updateMask") or query.get("update_mask"), {"displayName"})
    with platform.writing() as db:
        row = get(db, DatasetRow, f"accounts/{account}/datasets/{dataset}")
        check_writer(caller, row.body.get("createdBy"))
        changed = [field for field, value in sent.items() if str(row.body.get(field)) != str(value)]
        if changed:
            raise InvalidArgument(f"{', '.join(changed)} cannot be changed.", hint="Only displayName can.")
        resource = wire(update_body(db, row, {"displayName": body.display_name}))
        db.commit()
    return resource


@router.delete("/v1/accounts/{account}/datasets/{dataset}")
def delete_dataset(account: str, dataset: str, platform: PlatformDep, caller: CallerDep) -> Json:
    """datasets.delete."""
    with platform.writing() as db:
        row = get(db, DatasetRow, f"accounts/{account}/datasets/{dataset}")
        check_writer(caller, row.body.get("createdBy"))
        dataset_files.remove_dataset(platform, row, select_rows(db, DatasetRow))
        delete(db, row)
        db.commit()
    return {}


def _find_open(platform: PlatformDep, name: str, caller: Principal) -> None:
    """Raises unless the dataset exists, awaits its file, and may be written by the caller."""
    with platform.reading() as db:
        row = get(db, DatasetRow, name)
    check_writer(caller, row.body.get("createdBy"))
    uploads.require_uploading(row)
