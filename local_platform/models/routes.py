"""Routes of models: LoRA adapters of the account, and the catalogue of base models [P8, P9, P49]."""

from typing import Any

from fastapi import APIRouter, Request
from pydantic import Field
from sqlmodel import Session

from local_platform.auth import AdminDep, CallerDep, own
from local_platform.bodies import WireInt
from local_platform.context import PlatformDep
from local_platform.jobs.state import TERMINAL
from local_platform.models.files import check_adapter_filenames, publish_adapter_upload
from local_platform.models.imports import ImportBody, import_model
from local_platform.resources import delete, find, get, insert, list_resources, mask, select_rows, update_body, wire
from local_platform.storage import signed, uploads
from local_platform.tables import DeployedModelRow, DeploymentRow, JobRow, ModelRow
from pilotlight.errors import FailedPrecondition, InvalidArgument, NotFound, Unimplemented
from pilotlight.identity import check_writer
from pilotlight.listing import apply_update, parse_update_mask
from pilotlight.names import CATALOGUE_ACCOUNT, check_id, expand_name
from pilotlight.strict_json import StrictRoute
from pilotlight.wire import Wire

Json = dict[str, Any]
router = APIRouter(route_class=StrictRoute, tags=["models"])
MUTABLE = frozenset({"displayName", "description", "public", "githubUrl", "huggingFaceUrl", "supportsTools"})
FIELDS = MUTABLE | {
    "kind",
    "createdBy",
    "contextLength",
    "trainingContextLength",
    "supportsLora",
    "supportsServerless",
    "supportsImageInput",
    "tunable",
    "peftDetails",
    "baseModelDetails",
    "fineTuningJob",
    "localDetails",
    "status",
}
_ADAPTERS_ONLY = "register base models with `pilotlight model import`; here a model is a LoRA adapter (HF_PEFT_ADDON)"


class PeftBody(Wire):
    """`peftDetails`; rank and modules are read from the files in the end."""

    base_model: str
    r: WireInt = Field(default=0, ge=0, le=1024)
    target_modules: list[str] = Field(default_factory=list)
    base_model_type: str | None = None
    merge_addon_model_name: str | None = None


class ModelBody(Wire):
    """The `model` object of create, and the body of update."""

    display_name: str = Field(default="", max_length=63)
    description: str = Field(default="", max_length=999)
    kind: str = "HF_PEFT_ADDON"
    peft_details: PeftBody | None = None
    public: bool = False
    github_url: str | None = Field(default=None, max_length=2000)
    hugging_face_url: str | None = Field(default=None, max_length=2000)
    supports_tools: bool | None = None
    supports_lora: bool | None = None
    supports_image_input: bool | None = None
    context_length: WireInt | None = None
    training_context_length: WireInt | None = None
    conversation_config: dict[str, Any] | None = None
    base_model_details: dict[str, Any] | None = None
    default_draft_model: str | None = None
    default_draft_token_count: WireInt | None = None
    deprecation_date: dict[str, Any] | None = None
    snapshot_type: str | None = None
    teft_details: dict[str, Any] | None = None
    use_hf_apply_chat_template: bool | None = None


class CreateBody(Wire):
    """Body of models.create."""

    model_id: str
    model: ModelBody = Field(default_factory=ModelBody)
    cluster: str | None = None


class UploadEndpointBody(Wire):
    """Body of :getUploadEndpoint; sizes in bytes."""

    filename_to_size: dict[str, WireInt]
    enable_resumable_upload: bool = False
    read_mask: str | None = None


class PrepareBody(Wire):
    """Body of :prepare."""

    precision: str | None = None
    read_mask: str | None = None


@router.post(f"/v1/accounts/{CATALOGUE_ACCOUNT}/models:import", tags=["local extensions"])
def import_base_model(body: ImportBody, platform: PlatformDep, caller: AdminDep) -> Json:
    """Register a Hugging Face checkpoint in the catalogue; for admins, a local extension."""
    return wire(import_model(platform, body))


@router.post("/v1/accounts/{account}/models")
def create_model(account: str, body: CreateBody, platform: PlatformDep, caller: CallerDep) -> Json:
    """models.create: an adapter in state UPLOADING, whose files come by :getUploadEndpoint."""
    if body.model.kind not in ("HF_PEFT_ADDON", "KIND_UNSPECIFIED") or body.cluster:
        raise Unimplemented(f"Models of kind {body.model.kind[:40]} cannot be created here: {_ADAPTERS_ONLY}.")
    if body.model.peft_details is None:
        raise InvalidArgument("peftDetails.baseModel is required.", hint="Name the base model the adapter is for.")
    base = expand_name(body.model.peft_details.base_model, CATALOGUE_ACCOUNT, "models")
    fields = body.model.model_dump(by_alias=True, exclude_none=True, exclude_unset=True)
    fields |= {"kind": "HF_PEFT_ADDON", "createdBy": caller.email}
    fields["peftDetails"] = {**fields["peftDetails"], "baseModel": base}
    with platform.writing() as db:
        base_row = find(db, ModelRow, base)
        if base_row is None or base_row.body["kind"] != "HF_BASE_MODEL":
            raise NotFound(f"Base model {base} not found.", hint="List accounts/fireworks/models.")
        name = f"accounts/{account}/models/{check_id(body.model_id, 'modelId')}"
        resource = wire(insert(db, ModelRow, name, fields, "UPLOADING"))
        db.commit()
    return resource


@router.get("/v1/accounts/{account}/models")
def list_models(request: Request, account: str, platform: PlatformDep, caller: CallerDep) -> Json:
    """models.list; `accounts/fireworks/models` are the base models."""
    with platform.reading() as db:
        return list_resources(db, ModelRow, own(account, caller), request, "models", FIELDS)


@router.post("/v1/accounts/{account}/models/{model}:getUploadEndpoint")
def get_upload_endpoint(
    request: Request, account: str, model: str, body: UploadEndpointBody, platform: PlatformDep, caller: CallerDep
) -> Json:
    """models.getUploadEndpoint: signed PUT URLs for the files of an adapter."""
    if body.enable_resumable_upload:
        raise Unimplemented("Resumable uploads are not supported; PUT each file whole.")
    name = f"accounts/{account}/models/{model}"
    sizes = signed.check_filenames(dict(body.filename_to_size))
    check_adapter_filenames(list(sizes))
    with platform.reading() as db:
        check_writer(caller, get(db, ModelRow, name).body.get("createdBy"))
    upload = uploads.register_upload(platform, ModelRow, name, sizes)
    return {"filenameToSignedUrls": signed.sign_uploads(platform, request, upload, sizes)}


@router.get("/v1/accounts/{account}/models/{model}:validateUpload")
def validate_upload(account: str, model: str, platform: PlatformDep, caller: CallerDep) -> Json:
    """models.validateUpload: the model is READY when it answers 200. A GET that changes state, as documented."""
    check_writer(caller)
    if account != caller.account:
        raise FailedPrecondition("Models of the catalogue have no uploads.")
    return {"warnings": publish_adapter_upload(platform, f"accounts/{account}/models/{model}")}


@router.get("/v1/accounts/{account}/models/{model}:getDownloadEndpoint")
def get_download_endpoint(request: Request, account: str, model: str, platform: PlatformDep, caller: CallerDep) -> Json:
    """models.getDownloadEndpoint: signed GET URLs of an adapter's files."""
    directory = platform.model_directory(f"accounts/{account}/models/{model}")
    if account == CATALOGUE_ACCOUNT:
        raise Unimplemented("Base models are not offered for download here; get them where they come from.")
    files = sorted(file for file in directory.iterdir() if file.is_file())
    return {
        "filenameToSignedUrls": {file.name: signed.sign_download(platform, request, file, file.name) for file in files}
    }


@router.post("/v1/accounts/{account}/models/{model}:prepare")
def prepare_model(
    account: str, model: str, platform: PlatformDep, caller: CallerDep, body: PrepareBody | None = None
) -> Json:
    """models.prepare: nothing to convert here, one precision is served; checks that the model is READY."""
    platform.model_directory(f"accounts/{account}/models/{model}")
    return {}


@router.get("/v1/accounts/{account}/models/{model}")
def get_model(request: Request, account: str, model: str, platform: PlatformDep, caller: CallerDep) -> Json:
    """models.get, with the deployments the model is loaded on."""
    with platform.reading() as db:
        row = get(db, ModelRow, f"accounts/{account}/models/{model}")
        return mask(request, {**wire(row), "deployedModelRefs": _find_refs(db, row.name, caller.account)})


@router.patch("/v1/accounts/{account}/models/{model}")
def update_model(
    request: Request, account: str, model: str, body: ModelBody, platform: PlatformDep, caller: CallerDep
) -> Json:
    """models.update: names, texts and flags for people; what the files say cannot be changed."""
    sent = body.model_dump(by_alias=True, exclude_unset=True, exclude_none=True)
    query = request.query_params
    paths = parse_update_mask(query.get("updateMask") or query.get("update_mask"), MUTABLE)
    with platform.writing() as db:
        row = get(db, ModelRow, f"accounts/{account}/models/{model}")
        check_writer(caller, row.body.get("createdBy"))
        fixed = [field for field in sent.keys() - MUTABLE if sent[field] != row.body.get(field)]
        if fixed:
            raise InvalidArgument(
                f"{', '.join(sorted(fixed))} cannot be changed.", hint=f"These can: {', '.join(sorted(MUTABLE))}."
            )
        changed = apply_update(row.body, sent, paths)
        resource = wire(update_body(db, row, {field: changed.get(field) for field in MUTABLE}))
        db.commit()
    return resource


@router.delete("/v1/accounts/{account}/models/{model}")
def delete_model(account: str, model: str, platform: PlatformDep, caller: CallerDep) -> Json:
    """models.delete. Refused while a deployment or a job uses the model."""
    name = f"accounts/{account}/models/{model}"
    with platform.writing() as db:
        row = get(db, ModelRow, name)
        check_writer(caller, row.body.get("createdBy"))
        if user := _find_user(db, name, account):
            raise FailedPrecondition(f"{name} is in use by {user}.", hint="Undeploy it or end the job first.")
        directory = row.body.get("_directory")
        uploads.forget_upload(platform, row)
        delete(db, row)
        db.commit()
    if directory:
        platform.remove_model_directory(directory)
    return {}


def _find_refs(db: Session, name: str, account: str) -> list[Json]:
    rows = [row for row in select_rows(db, DeployedModelRow, account) if row.body.get("model") == name]
    kept = ("deployment", "default", "public")
    return [
        {"name": row.name, "state": row.state, **{field: row.body[field] for field in kept if field in row.body}}
        for row in rows
    ]


def _find_user(db: Session, name: str, account: str) -> str | None:
    for row in select_rows(db, DeploymentRow, account):
        if row.body.get("baseModel") == name and row.state != "DELETED":
            return row.name
    for row in select_rows(db, DeployedModelRow, account):
        if row.body.get("model") == name:
            return row.name
    for row in select_rows(db, JobRow, account):
        if row.state not in TERMINAL and name in (row.body.get("warmStartFrom"), row.body.get("baseModel")):
            return row.name
    return None
