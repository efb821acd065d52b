"""Routes of evaluation jobs: create, get, list, log, delete."""

import secrets
import shutil
from datetime import timedelta
from typing import Any

from fastapi import APIRouter, Request
from pydantic import Field

from local_platform.auth import CallerDep, own
from local_platform.context import PlatformDep
from local_platform.evaluations.run import folder_of
from local_platform.jobs.state import JobState
from local_platform.resources import delete, find, get, insert, list_resources, mask, wire
from local_platform.storage.signed import sign_download
from local_platform.storage.signing import LIFETIME
from local_platform.tables import DatasetRow, EvaluationJobRow, EvaluatorRow
from local_platform.workers import WorkersDep
from pilotlight.clock import now, to_rfc3339
from pilotlight.dataset import RowKind
from pilotlight.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound, Unimplemented
from pilotlight.identity import check_writer
from pilotlight.names import check_id, parse_name
from pilotlight.strict_json import StrictRoute
from pilotlight.wire import Wire

Json = dict[str, Any]
router = APIRouter(route_class=StrictRoute, tags=["evaluationJobs"])
FIELDS = frozenset({"displayName", "evaluator", "inputDataset", "outputDataset", "createdBy", "status"})
_COLLECTION = "/v1/accounts/{account}/evaluationJobs"
_ONE = _COLLECTION + "/{job}"


class JobBody(Wire):
    """The `evaluationJob` object of create."""

    evaluator: str
    input_dataset: str
    output_dataset: str
    display_name: str = Field(default="", max_length=63)
    output_stats: str | None = None
    aws_s3_config: Json | None = None


class CreateBody(Wire):
    """Body of evaluationJobs.create."""

    evaluation_job: JobBody
    evaluation_job_id: str = ""
    leaderboard_ids: list[str] | None = None


@router.post(_COLLECTION)
def create_job(account: str, body: CreateBody, platform: PlatformDep, workers: WorkersDep, caller: CallerDep) -> Json:
    """evaluationJobs.create: queued; the input dataset has the answers that are scored."""
    order = body.evaluation_job
    if order.aws_s3_config or body.leaderboard_ids or order.output_stats:
        raise Unimplemented("awsS3Config, leaderboardIds and outputStats are not supported by the local platform.")
    identifier = check_id(body.evaluation_job_id or f"evalj-{secrets.token_hex(6)}", "evaluationJobId")
    with platform.writing() as db:
        evaluator = get(db, EvaluatorRow, _own(order.evaluator, "evaluators", account))
        dataset = get(db, DatasetRow, _own(order.input_dataset, "datasets", account))
        output = _own(order.output_dataset, "datasets", account)
        _check_ready(evaluator, dataset)
        if find(db, DatasetRow, output) is not None:
            raise AlreadyExists(f"The output dataset {output} exists.", hint="Choose another outputDataset.")
        fields = {"evaluator": evaluator.name, "inputDataset": dataset.name, "outputDataset": output}
        status = {"code": "OK", "message": ""}
        more = {"displayName": order.display_name, "createdBy": caller.email, "status": status}
        name = f"accounts/{account}/evaluationJobs/{identifier}"
        resource = wire(insert(db, EvaluationJobRow, name, fields | more, JobState.PENDING))
        db.commit()
    workers.evaluations.wake()
    return resource


@router.get(_COLLECTION)
def list_jobs(account: str, request: Request, platform: PlatformDep, caller: CallerDep) -> Json:
    """evaluationJobs.list."""
    with platform.reading() as db:
        return list_resources(db, EvaluationJobRow, own(account, caller), request, "evaluationJobs", FIELDS)


@router.get(_ONE + ":getExecutionLogEndpoint")
def get_log_endpoint(account: str, job: str, request: Request, platform: PlatformDep, caller: CallerDep) -> Json:
    """evaluationJobs.getLogEndpoint: a signed URL of what the evaluator printed; empty before it ran."""
    with platform.reading() as db:
        row = get(db, EvaluationJobRow, f"accounts/{account}/evaluationJobs/{job}")
    path = folder_of(platform, row.name) / "execution.log"
    if not path.is_file():
        return {"executionLogSignedUri": ""}
    uri = sign_download(platform, request, path, f"{row.id}.log")
    expires = to_rfc3339(now() + timedelta(seconds=LIFETIME))
    return {"executionLogSignedUri": uri, "contentType": "text/plain", "expireTime": expires}


@router.get(_ONE)
def get_job(account: str, job: str, request: Request, platform: PlatformDep, caller: CallerDep) -> Json:
    """evaluationJobs.get."""
    with platform.reading() as db:
        return mask(request, wire(get(db, EvaluationJobRow, f"accounts/{account}/evaluationJobs/{job}")))


@router.delete(_ONE)
def delete_job(account: str, job: str, platform: PlatformDep, workers: WorkersDep, caller: CallerDep) -> Json:
    """evaluationJobs.delete: with its log; a running one is stopped. The output dataset stays."""
    name = f"accounts/{account}/evaluationJobs/{job}"
    with platform.writing() as db:
        row = get(db, EvaluationJobRow, name)
        check_writer(caller, row.body.get("createdBy"))
        delete(db, row)
        db.commit()
    workers.evaluations.drop(name)
    shutil.rmtree(folder_of(platform, name), ignore_errors=True)
    return {}


def _own(name: str, collection: str, account: str) -> str:
    parsed = parse_name(name, collection)
    if parsed.account != account:
        raise NotFound(f"{name[:160]} not found in account.", hint="List the collection to see what exists.")
    if collection == "datasets":
        check_id(parsed.id, "dataset")
    return str(parsed)


def _check_ready(evaluator: EvaluatorRow, dataset: DatasetRow) -> None:
    if evaluator.state != "ACTIVE":
        raise FailedPrecondition(
            f"{evaluator.name} is {evaluator.state}, not ACTIVE.", hint="Its build log says why, once it was built."
        )
    if dataset.state != "READY":
        raise FailedPrecondition(f"{dataset.name} is {dataset.state}, not READY.", hint="Upload and validate its file.")
    if dataset.body.get("rowKind") != RowKind.CHAT:
        raise InvalidArgument(
            f"{dataset.name} holds {dataset.body.get('rowKind')} rows; an evaluation job scores answers.",
            hint="Use a dataset whose rows end with what a model answered.",
        )
