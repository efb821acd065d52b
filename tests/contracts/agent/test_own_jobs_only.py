"""Cancel, stop and clean up touch what the session created and nothing else, however often they are called."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.fixtures.asgi import serving
from tests.fixtures.control import ControlServer

FULL = "accounts/acct/supervisedFineTuningJobs/"


class Jobs:
    """A platform of jobs that run until they are cancelled; one of them is somebody else's."""

    def __init__(self) -> None:
        self.states: dict[str, str] = {"foreign": "JOB_STATE_RUNNING"}
        self.away = 0
        """So many deletions from now on are answered by an error."""
        path = "/v1/accounts/acct/supervisedFineTuningJobs"
        routes = [
            Route(path, self.create, methods=["POST"]),
            Route(path + "/{job}:cancel", self.cancel, methods=["POST"]),
            Route(path + "/{job}", self.get),
            Route(path + "/{job}", self.delete, methods=["DELETE"]),
        ]
        self.app = Starlette(routes=routes)

    async def create(self, request: Request) -> Response:
        name = request.query_params["supervisedFineTuningJobId"]
        self.states[name] = "JOB_STATE_RUNNING"
        return self._show(name)

    async def cancel(self, request: Request) -> Response:
        self.states[request.path_params["job"]] = "JOB_STATE_CANCELLED"
        return JSONResponse({})

    async def get(self, request: Request) -> Response:
        return self._show(request.path_params["job"])

    async def delete(self, request: Request) -> Response:
        if self.away:
            self.away -= 1
            return JSONResponse({"code": 14, "message": "away", "details": []}, 503)
        if self.states.pop(request.path_params["job"], None) is None:
            return JSONResponse({"code": 5, "message": "not found", "details": []}, 404)
        return JSONResponse({})

    def _show(self, name: str) -> Response:
        if name not in self.states:
            return JSONResponse({"code": 5, "message": "not found", "details": []}, 404)
        cost = {"estimatedCost": {"units": "0", "nanos": 250_000_000}}
        return JSONResponse({"name": FULL + name, "state": self.states[name], **cost})


@pytest.fixture
def jobs() -> Jobs:
    return Jobs()


@pytest.fixture
def control(jobs: Jobs, tmp_path: Path) -> Iterator[ControlServer]:
    with serving(jobs.app) as url:
        server = ControlServer(tmp_path, platform_url=url, platform_key=SecretStr("fw_x")).start()
        yield server
        server.stop()


def work(control: ControlServer, rest: str) -> str:
    """A session that has started the job c1 under an approved plan."""
    session = control.create(f"plan 9; job c1; {rest}")
    control.settle(session, "waiting")
    control.update(session, instruction="Approved, proceed.")
    control.settle_until(session, lambda _: (control.workspace(session) / "jobs.txt").exists())
    return session


def test_cancel_stops_its_own_jobs_only_and_may_be_repeated(control: ControlServer, jobs: Jobs) -> None:
    session = work(control, "wait go; finish")
    reply = control.post(f"/{session}:cancel", {})
    assert [(item["name"], item["action"]) for item in reply["resources"]] == [(FULL + "c1", "cancelled")]
    again = control.post(f"/{session}:cancel", {})
    assert [item["action"] for item in again["resources"]] == ["kept"]
    assert again["session"]["status"] == "cancelled"
    assert jobs.states == {"foreign": "JOB_STATE_RUNNING", "c1": "JOB_STATE_CANCELLED"}


def test_a_runner_can_stop_its_own_jobs_only(control: ControlServer, jobs: Jobs) -> None:
    session = work(control, "stop_jobs; finish")
    control.settle(session, "succeeded")
    assert jobs.states == {"foreign": "JOB_STATE_RUNNING", "c1": "JOB_STATE_CANCELLED"}


def test_a_job_stopped_by_name_ends_its_grant_and_no_other_is_touched(control: ControlServer, jobs: Jobs) -> None:
    session = work(control, "stop_jobs foreign; write seen x; wait go; stop_jobs c1 foreign; wait end; finish")
    control.settle_until(session, lambda _: (control.workspace(session) / "seen").exists())
    assert jobs.states == {"foreign": "JOB_STATE_RUNNING", "c1": "JOB_STATE_RUNNING"}
    assert control.get(f"/{session}")["cost"]["approved"] == "4.500000"
    (control.workspace(session) / "go").touch()
    cost = control.settle_until(session, lambda view: view["cost"]["approved"] == "0.250000")["cost"]
    assert (cost["soFar"], cost["reserved"]) == ("0.250000", "0.000000")
    assert jobs.states == {"foreign": "JOB_STATE_RUNNING", "c1": "JOB_STATE_CANCELLED"}
    (control.workspace(session) / "end").touch()
    control.settle(session, "succeeded")


def test_cleanup_removes_its_own_and_goes_on_where_it_broke_off(control: ControlServer, jobs: Jobs) -> None:
    session = work(control, "finish")
    control.settle(session, "succeeded")
    assert actions(control, session, confirm=False) == ["listed"]
    assert "c1" in jobs.states
    jobs.away = 100
    assert actions(control, session) == ["kept"]
    control.stop()
    jobs.away = 0
    control.start()
    assert actions(control, session) == ["deleted"]
    assert actions(control, session) in ([], ["deleted"])
    assert jobs.states == {"foreign": "JOB_STATE_RUNNING"}


def actions(control: ControlServer, session: str, confirm: bool = True) -> list[Any]:
    """What was done to the job; its output model never came to be."""
    handled = control.post(f"/{session}:cleanup", {"confirm": confirm})["resources"]
    assert all(item["name"] != FULL + "foreign" for item in handled)
    return [item["action"] for item in handled if item["name"] == FULL + "c1"]
