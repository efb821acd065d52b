"""Creating a fine-tuning job: what a request refers to is checked, copied and queued in one transaction [P50-P66]."""

import os
import secrets
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from sqlmodel import Session

from local_platform.context import Platform
from local_platform.jobs.fields import JobRequest, check_supported
from local_platform.jobs.kinds import PREFERENCE, SUPERVISED, JobKind
from local_platform.jobs.loss import SUPERVISED_LOSS, LossSettings
from local_platform.jobs.runs import JobRun, work_directory
from local_platform.jobs.settings import WARM_START_KEEPS, settle
from local_platform.jobs.state import TERMINAL, JobState
from local_platform.resources import find, insert, select_rows
from local_platform.tables import DatasetRow, JobRow, ModelRow
from pilotlight.crashpoints import Point, reach
from pilotlight.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound
from pilotlight.identity import Principal
from pilotlight.names import CATALOGUE_ACCOUNT, check_id, expand_name, parse_name

TRAIN_FILE, EVALUATION_FILE = "train.jsonl", "evaluation.jsonl"


class _Base(NamedTuple):
    """The base model a job trains on, and what a warm start carries over."""

    row: ModelRow
    warm_start: ModelRow | None
    inherited: dict[str, Any]


class Order(NamedTuple):
    """A job of some kind, as a request body asks for it."""

    kind: JobKind
    request: JobRequest
    loss: LossSettings = SUPERVISED_LOSS


def create_job(platform: Platform, caller: Principal, account: str, job_id: str, order: Order) -> JobRow:
    """Check a request, take hold of its dataset files and queue the job in state CREATING.

    Raises AlreadyExists for a taken job or output model, NotFound, FailedPrecondition, InvalidArgument.
    """
    kind, request, loss = order
    job_id = check_id(job_id or f"{kind.id_prefix}-{secrets.token_hex(6)}", kind.id_field)
    check_supported(request)
    with platform.writing() as db:
        name = f"accounts/{account}/{kind.collection}/{job_id}"
        if find(db, JobRow, name):
            raise AlreadyExists(f"{name} already exists.", hint="Choose another ID, or use the existing job.")
        base = _find_base(db, account, request, loss.method)
        dataset = _find_dataset(db, account, request.dataset, "dataset", kind)
        held_out = request.evaluation_dataset
        evaluation = _find_dataset(db, account, held_out, "evaluationDataset", kind) if held_out else None
        settings = settle(request, base.row.body, int(dataset.body["exampleCount"]), base.inherited, loss.method)
        output = _output_name(db, account, request.output_model or job_id)
        body = {
            "displayName": request.display_name,
            "dataset": dataset.name,
            "evaluationDataset": evaluation.name if evaluation else None,
            "baseModel": None if base.warm_start else base.row.name,
            "warmStartFrom": base.warm_start.name if base.warm_start else None,
            "outputModel": output,
            "usePurpose": request.use_purpose or None,
            "createdBy": caller.email,
            "status": {"code": "OK", "message": ""},
            "_base": base.row.name,
            **settings.model_dump(by_alias=True),
            **_loss_fields(loss),
        }
        row = insert(db, JobRow, name, {field: v for field, v in body.items() if v is not None}, JobState.CREATING)
        db.add(JobRun(job=name))
        _take_files(platform, row, dataset, evaluation)
        reach(Point.PLATFORM_JOB_WRITTEN)
        db.commit()
        reach(Point.PLATFORM_JOB_COMMITTED)
        db.refresh(row)
        return row


def _loss_fields(loss: LossSettings) -> dict[str, Any]:
    if loss.method == "SFT":
        return {}
    of_spec = {"method": loss.method, "beta": loss.beta, "reference_batch_pairs": loss.reference_batch_pairs}
    return {"lossConfig": loss.shown, "_loss": of_spec}


def _find_base(db: Session, account: str, request: JobRequest, method: str) -> _Base:
    if bool(request.base_model) == bool(request.warm_start_from):
        raise InvalidArgument("Only one of 'baseModel' and 'warmStartFrom' should be specified, and one must be.")
    if request.base_model:
        row = _find_model(db, account, request.base_model, "baseModel")
        if row.body.get("kind") != "HF_BASE_MODEL":
            raise InvalidArgument(f"{row.name} is not a base model.", hint="Continue a LoRA addon with warmStartFrom.")
        if not row.body.get("tunable"):
            raise InvalidArgument(f"Base model {row.name} cannot be fine-tuned: it is not tunable.")
        return _Base(row, None, {})
    addon = _find_model(db, account, request.warm_start_from or "", "warmStartFrom")
    if addon.body.get("kind") != "HF_PEFT_ADDON":
        raise InvalidArgument(f"{addon.name} is not a LoRA addon.", hint="Train a base model with baseModel.")
    details = addon.body["peftDetails"]
    base = _find_model(db, account, details["baseModel"], "peftDetails.baseModel")
    made_by = find(db, JobRow, addon.body.get("fineTuningJob", ""))
    inherited = {field: made_by.body[field] for field in WARM_START_KEEPS} if made_by else {}
    if made_by and made_by.body.get("_loss", {}).get("method", "SFT") != method:
        # Another method, another scale of steps: only within one is the old rate the right one.
        inherited.pop("learningRate")
    return _Base(base, addon, inherited | {"loraRank": int(details["r"])})


def _find_model(db: Session, account: str, reference: str, field: str) -> ModelRow:
    name = expand_name(reference, account, "models")
    _check_readable(name, account, "Model", field)
    row = find(db, ModelRow, name)
    if row is None:
        raise NotFound(f"Model '{reference[:160]}' ({field}) not found in account.", hint="List models to see them.")
    if row.state != "READY":
        raise FailedPrecondition(f"Model {name} is {row.state}, not READY.", hint="Wait until its upload is complete.")
    return row


def _find_dataset(db: Session, account: str, reference: str, field: str, kind: JobKind) -> DatasetRow:
    name = expand_name(reference, account, "datasets")
    _check_readable(name, account, "Dataset", field)
    row = find(db, DatasetRow, name)
    if row is None:
        raise NotFound(f"Dataset '{reference[:160]}' ({field}) not found in account.", hint="Create and upload it.")
    if row.state != "READY":
        raise FailedPrecondition(f"Dataset {name} is {row.state}, not READY.", hint="Upload and validate its file.")
    _check_rows(row, field, kind)
    return row


def _check_rows(dataset: DatasetRow, field: str, kind: JobKind) -> None:
    found = dataset.body.get("rowKind")
    if kind is PREFERENCE and found != PREFERENCE.rows:
        raise InvalidArgument(
            f"Dataset {dataset.name} ({field}) holds {found} rows, and preference jobs learn from pairs.",
            hint='A pair is {"input": {"messages": [...]}, "preferred_output": [...], "non_preferred_output": [...]}.',
        )
    if kind is SUPERVISED and found == PREFERENCE.rows:
        raise InvalidArgument(
            f"Dataset {dataset.name} ({field}) holds preference pairs, and supervised jobs learn from conversations.",
            hint=f"Create a job in {PREFERENCE.collection}.",
        )


def _check_readable(name: str, account: str, kind: str, field: str) -> None:
    # The same answer as for a name that does not exist: other accounts are not to be explored.
    if parse_name(name).account not in (account, CATALOGUE_ACCOUNT):
        raise NotFound(f"{kind} '{name}' ({field}) not found in account.")


def _output_name(db: Session, account: str, reference: str) -> str:
    name = expand_name(reference, account, "models")
    parsed = parse_name(name)
    check_id(parsed.id, "outputModel")
    if parsed.account != account:
        raise InvalidArgument(f"outputModel must be in account {account!r}, not {parsed.account!r}.")
    promised: Iterable[JobRow] = (row for row in select_rows(db, JobRow, account) if _may_publish(row))
    if find(db, ModelRow, name) or any(row.body["outputModel"] == name for row in promised):
        raise AlreadyExists(f"Output model {name} already exists.", hint="Choose another outputModel.")
    return name


def _may_publish(job: JobRow) -> bool:
    return JobState(job.state) not in TERMINAL


def _take_files(platform: Platform, job: JobRow, dataset: DatasetRow, evaluation: DatasetRow | None) -> None:
    """Hard-link the datasets into the job's folder: deleting a dataset later cannot take it from a queued job."""
    folder = work_directory(platform.home, job)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    _link(platform, dataset, folder / TRAIN_FILE)
    if evaluation:
        _link(platform, evaluation, folder / EVALUATION_FILE)


def _link(platform: Platform, dataset: DatasetRow, target: Path) -> None:
    try:
        os.link(platform.blobs.path(dataset.body["contentHash"]), target)
    except FileNotFoundError:
        raise FailedPrecondition(f"The file of dataset {dataset.name} is gone.", hint="Upload it again.") from None
