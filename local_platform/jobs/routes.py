"""Routes of `supervisedFineTuningJobs` and `dpoJobs`: create, get, list, cancel, resume, delete [P21, P50-P68]."""

import time
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Body, Request
from pydantic.alias_generators import to_snake

from local_platform.auth import CallerDep, own
from local_platform.bodies import parse_body
from local_platform.context import PlatformDep
from local_platform.jobs.creation import Order, create_job
from local_platform.jobs.fields import JobRequest
from local_platform.jobs.kinds import PREFERENCE, SUPERVISED, JobKind, kind_of
from local_platform.jobs.loss import PreferenceRequest, settle_loss
from local_platform.jobs.runs import run_of
from local_platform.jobs.scheduler import CANCELLED_TEXT
from local_platform.jobs.state import HAS_TRAINER, JobState, check_transition
from local_platform.jobs.view import closing_fields, metrics_url, show_heldout, show_job
from local_platform.resources import COMMON_FIELDS, find, get, mask, select_rows, update_body
from local_platform.tables import JobRow, ModelRow
from local_platform.workers import WorkersDep
from pilotlight.errors import AlreadyExists, FailedPrecondition
from pilotlight.identity import check_writer
from pilotlight.listing import list_page, parse_list_params
from pilotlight.strict_json import StrictRoute

_SHARED_FIELDS = COMMON_FIELDS | {
    *("displayName", "dataset", "evaluationDataset", "createdBy", "completedTime", "usePurpose", "status"),
}
_FILTER_FIELDS = {
    SUPERVISED: _SHARED_FIELDS | {"baseModel", "warmStartFrom", "outputModel", "epochs", "learningRate", "loraRank"},
    PREFERENCE: _SHARED_FIELDS | {"trainingConfig", "lossConfig"},
}
Json = dict[str, Any]


class JobRoutes:
    """The routes of one collection. `parse` reads the body of create."""

    def __init__(self, kind: JobKind, parse: Callable[[Any], Order]) -> None:
        self._kind, self._parse = kind, parse

    def router(self) -> APIRouter:
        """All routes; custom verbs come before `/{job}`."""
        router = APIRouter(tags=[self._kind.collection], route_class=StrictRoute)
        collection = f"/v1/accounts/{{account}}/{self._kind.collection}"
        job = collection + "/{job}"
        router.post(collection)(self.create)
        router.get(collection)(self.list_jobs)
        router.post(job + ":cancel")(self.cancel)
        router.post(job + ":resume")(self.resume)
        if self._kind is PREFERENCE:
            router.get(job + ":getMetricsFileEndpoint")(self.get_metrics_file_endpoint)
        router.get(job)(self.get_job)
        router.delete(job)(self.delete_job)
        return router

    def create(
        self,
        account: str,
        request: Request,
        platform: PlatformDep,
        workers: WorkersDep,
        caller: CallerDep,
        payload: Annotated[Any, Body()],
    ) -> Json:
        """Queue a job; its ID comes from the query, or is made up."""
        query, field = request.query_params, self._kind.id_field
        job_id = query.get(field) or query.get(to_snake(field)) or ""
        job = create_job(platform, caller, account, job_id, self._parse(payload))
        workers.scheduler.wake()
        return self._show(platform, request, job.name)

    def list_jobs(self, account: str, request: Request, platform: PlatformDep, caller: CallerDep) -> Json:
        """One page of jobs [P14-P16]."""
        with platform.reading() as db:
            jobs = [row for row in select_rows(db, JobRow, own(account, caller)) if kind_of(row.name) is self._kind]
            shown = [show_job(platform, job, run_of(db, job), request) for job in jobs]
        params = parse_list_params(request.query_params)
        return list_page(shown, params, self._kind.collection, _FILTER_FIELDS[self._kind])

    def cancel(self, account: str, job: str, platform: PlatformDep, workers: WorkersDep, caller: CallerDep) -> Json:
        """Stop a job; a running trainer first saves its checkpoint. Cancelling a cancelled job changes nothing."""
        with platform.writing() as db:
            row = get(db, JobRow, self._name(account, job))
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

    def resume(
        self, account: str, job: str, request: Request, platform: PlatformDep, workers: WorkersDep, caller: CallerDep
    ) -> Json:
        """Queue a failed or cancelled job again; it goes on from its last checkpoint."""
        with platform.writing() as db:
            row = get(db, JobRow, self._name(account, job))
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
        return self._show(platform, request, self._name(account, job))

    def get_metrics_file_endpoint(
        self, account: str, job: str, request: Request, platform: PlatformDep, caller: CallerDep
    ) -> Json:
        """A signed URL of the metrics file, JSON lines."""
        with platform.reading() as db:
            row = get(db, JobRow, self._name(account, job))
        return {"signedUrl": metrics_url(platform, row, request)}

    def get_job(self, account: str, job: str, request: Request, platform: PlatformDep, caller: CallerDep) -> Json:
        """One job."""
        return self._show(platform, request, self._name(account, job))

    def delete_job(self, account: str, job: str, platform: PlatformDep, workers: WorkersDep, caller: CallerDep) -> Json:
        """Remove a job, ending its trainer if it runs [CON 24]. The output model stays."""
        with platform.reading() as db:
            row = get(db, JobRow, self._name(account, job))
        check_writer(caller, row.body["createdBy"])
        if row.state == JobState.WRITING_RESULTS:
            raise FailedPrecondition(f"Job {row.name} is writing its results.", hint="Try again in a second.")
        workers.scheduler.remove(row.name)
        return {}

    def _show(self, platform: PlatformDep, request: Request, name: str) -> Json:
        with platform.reading() as db:
            row = get(db, JobRow, name)
            shown = show_job(platform, row, run_of(db, row), request)
            return mask(request, shown | show_heldout(platform, row, request.query_params.get("readMask", "")))

    def _name(self, account: str, job: str) -> str:
        return f"accounts/{account}/{self._kind.collection}/{job}"


def _parse_supervised(payload: Any) -> Order:
    return Order(SUPERVISED, parse_body(JobRequest, payload))


def _parse_preference(payload: Any) -> Order:
    body = parse_body(PreferenceRequest, payload)
    return Order(PREFERENCE, body.to_job(), settle_loss(body.loss_config))


router = APIRouter()
router.include_router(JobRoutes(SUPERVISED, _parse_supervised).router())
router.include_router(JobRoutes(PREFERENCE, _parse_preference).router())
