"""Routes of `supervisedFineTuningJobs`: create, get, list, cancel, resume, delete [P21, P50-P68]."""

import time
from typing import Annotated, Any

from fastapi import APIRouter, Body, Request

from local_platform.auth import CallerDep, own
from local_platform.bodies import parse_body
from local_platform.context import PlatformDep
from local_platform.jobs.creation import create_job
from local_platform.jobs.fields import JobRequest
from local_platform.jobs.runs import run_of
from local_platform.jobs.scheduler import CANCELLED_TEXT
from local_platform.jobs.state import HAS_TRAINER, JobState, check_transition
from local_platform.jobs.view import closing_fields, show_job
from local_platform.resources import COMMON_FIELDS, find, get, mask, select_rows, update_body
from local_platform.tables import JobRow, ModelRow
from local_platform.workers import WorkersDep
from pilotlight.errors import AlreadyExists, FailedPrecondition
from pilotlight.identity import check_writer
from pilotlight.listing import list_page, parse_list_params
from pilotlight.strict_json import StrictRoute

router = APIRouter(tags=["supervisedFineTuningJobs"], route_class=StrictRoute)
_COLLECTION = "/v1/accounts/{account}/supervisedFineTuningJobs"
_FILTER_FIELDS = COMMON_FIELDS | {
    "displayName",
    "dataset",
    "evaluationDataset",
    "baseModel",
    "warmStartFrom",
    "outputModel",
    "createdBy",
    "completedTime",
    "usePurpose",
    "epochs",
    "learningRate",
    "loraRank",
    "status",
}
Json = dict[str, Any]


@router.post(_COLLECTION)
def create(
    account: str,
    request: Request,
    platform: PlatformDep,
    workers: WorkersDep,
    caller: CallerDep,
    payload: Annotated[Any, Body()],
) -> Json:
    """Queue a job; its ID comes from the query, or is made up."""
    query = request.query_params
    job_id = query.get("supervisedFineTuningJobId") or query.get("supervised_fine_tuning_job_id") or ""
    job = create_job(platform, caller, account, job_id, parse_body(JobRequest, payload))
    workers.scheduler.wake()
    return _show(platform, request, job.name)


@router.get(_COLLECTION)
def list_jobs(account: str, request: Request, platform: PlatformDep, caller: CallerDep) -> Json:
    """One page of jobs [P14-P16]."""
    with platform.reading() as db:
        shown = [
            show_job(platform, job, run_of(db, job), request) for job in select_rows(db, JobRow, own(account, caller))
        ]
    return list_page(shown, parse_list_params(request.query_params), "supervisedFineTuningJobs", _FILTER_FIELDS)


@router.post(_COLLECTION + "/{job}:cancel")
def cancel(account: str, job: str, platform: PlatformDep, workers: WorkersDep, caller: CallerDep) -> Json:
    """Stop a job; a running trainer first saves its checkpoint. Cancelling a cancelled job changes nothing."""
    with platform.writing() as db:
        row = get(db, JobRow, _name(account, job))
        check_writer(caller, row.body["createdBy"])
        if row.state not in (JobState.CANCELLED, JobState.CANCELLING):
            if JobState(row.state) in HAS_TRAINER:
                update_body(db, row, {}, check_transition(row.name, row.state, JobState.CANCELLING))
            else:
                target = check_transition(row.name, row.state, JobState.CANCELLED)
                status = {"code": "CANCELLED", "message": CANCELLED_TEXT}
                fields = closing_fields(platform, row, run_of(db, row))
                update_body(db, row, fields | {"status": status}, target)
        db.commit()
    workers.scheduler.wake()
    return {}


@router.post(_COLLECTION + "/{job}:resume")
def resume(
    account: str, job: str, request: Request, platform: PlatformDep, workers: WorkersDep, caller: CallerDep
) -> Json:
    """Queue a failed or cancelled job again; it goes on from its last checkpoint."""
    with platform.writing() as db:
        row = get(db, JobRow, _name(account, job))
        check_writer(caller, row.body["createdBy"])
        target = check_transition(row.name, row.state, JobState.PENDING)
        if find(db, ModelRow, row.body["outputModel"]):
            raise AlreadyExists(
                f"Output model {row.body['outputModel']} was created meanwhile.", hint="Delete it first."
            )
        run = run_of(db, row)
        run.restarts, run.queued_at = 0, time.time()
        db.add(run)
        update_body(db, row, {"completedTime": None, "status": {"code": "OK", "message": ""}}, target)
        db.commit()
    workers.scheduler.wake()
    return _show(platform, request, _name(account, job))


@router.get(_COLLECTION + "/{job}")
def get_job(account: str, job: str, request: Request, platform: PlatformDep, caller: CallerDep) -> Json:
    """One job."""
    return _show(platform, request, _name(account, job))


@router.delete(_COLLECTION + "/{job}")
def delete_job(account: str, job: str, platform: PlatformDep, workers: WorkersDep, caller: CallerDep) -> Json:
    """Remove a job, ending its trainer if it runs [CON 24]. The output model stays."""
    with platform.reading() as db:
        row = get(db, JobRow, _name(account, job))
    check_writer(caller, row.body["createdBy"])
    if row.state == JobState.WRITING_RESULTS:
        raise FailedPrecondition(f"Job {row.name} is writing its results.", hint="Try again in a second.")
    workers.scheduler.remove(row.name)
    return {}


def _show(platform: PlatformDep, request: Request, name: str) -> Json:
    with platform.reading() as db:
        row = get(db, JobRow, name)
        return mask(request, show_job(platform, row, run_of(db, row), request))


def _name(account: str, job: str) -> str:
    return f"accounts/{account}/supervisedFineTuningJobs/{job}"
