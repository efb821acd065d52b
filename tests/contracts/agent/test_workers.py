"""Workers as processes: killed, stopped and continued, cancelled from elsewhere. One control process that runs none."""

import signal
import sqlite3
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.fixtures.asgi import serving
from tests.fixtures.control import ControlServer
from tests.fixtures.worker import WorkerProcess

CEILING = {"maxUsd": "5", "expireTime": (datetime.now(UTC) + timedelta(hours=1)).isoformat()}


class Jobs:
    """Remembers each create that reached it."""

    def __init__(self) -> None:
        self.posted: list[str] = []

    def app(self) -> Starlette:
        path = "/v1/accounts/acct/supervisedFineTuningJobs"
        return Starlette(routes=[Route(path, self.create, methods=["POST"]), Route(path + "/{job}", self.get)])

    async def create(self, request: Request) -> Response:
        self.posted.append(request.query_params["supervisedFineTuningJobId"])
        return self._show(self.posted[-1])

    async def get(self, request: Request) -> Response:
        return self._show(request.path_params["job"])

    def _show(self, name: str) -> Response:
        full = f"accounts/acct/supervisedFineTuningJobs/{name}"
        return JSONResponse({"name": full, "state": "JOB_STATE_RUNNING"})


@pytest.fixture(scope="module")
def jobs() -> Jobs:
    return Jobs()


@pytest.fixture(scope="module")
def control(jobs: Jobs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlServer]:
    settings: dict[str, Any] = {"concurrent_turns": 0, "lease_seconds": 6.0, "beat_seconds": 0.5}
    with serving(jobs.app(), lifespan="off") as url:
        home = tmp_path_factory.mktemp("w")
        server = ControlServer(home, platform_url=url, platform_key=SecretStr("fw_x"), **settings).start()
        yield server
        server.stop()


@pytest.fixture
def workers(control: ControlServer) -> Iterator[list[WorkerProcess]]:
    started: list[WorkerProcess] = []
    yield started
    for worker in started:
        worker.end()


def epochs_of(control: ControlServer, session: str, move: str) -> list[int]:
    return [event["epoch"] for event in control.events(session) if event["payload"].get("move") == move]


def moves(control: ControlServer, session: str) -> list[str]:
    return [event["payload"]["move"] for event in control.events(session) if event["type"] == "status"]


def test_a_killed_worker_is_replaced_within_three_seconds(control: ControlServer, workers: list[WorkerProcess]) -> None:
    session = control.create("say one; wait go; say two; finish")
    assert control.get(f"/{session}")["queuePosition"] == 1, "the control process runs none itself"
    workers.append(first := WorkerProcess(control.settings))
    first.wait_ready()
    control.settle_until(session, lambda view: view["statusInfo"] == "one")
    workers.append(WorkerProcess(control.settings))
    workers[-1].wait_ready()
    killed = time.monotonic()
    first.end(signal.SIGKILL)
    control.settle_until(session, lambda view: moves(control, session)[-1] == "start" and view["turn"] == 1)
    while moves(control, session).count("start") < 2:
        assert time.monotonic() - killed < 3
        time.sleep(0.05)
    (control.workspace(session) / "go").touch()
    assert control.settle(session, "succeeded")["statusInfo"] == "two"
    assert moves(control, session) == ["create", "start", "recover", "start", "succeed"]


def test_a_session_is_cancelled_whichever_worker_runs_it(control: ControlServer, workers: list[WorkerProcess]) -> None:
    workers.append(WorkerProcess(control.settings))
    workers[-1].wait_ready()
    session = control.create("say here; wait never")
    control.settle_until(session, lambda view: view["statusInfo"] == "here")
    assert control.post(f"/{session}:cancel", {})["session"]["status"] == "cancelled"
    assert control.runner_count(session) == 0, "it returns when the process is gone"
    assert control.http.delete(f"{control.collection}/{session}").status_code == 200


def test_a_zombie_writes_nothing_and_has_no_effect(
    control: ControlServer, jobs: Jobs, workers: list[WorkerProcess]
) -> None:
    workers.append(zombie := WorkerProcess(control.settings, control.settings.home / "z"))
    zombie.wait_ready()
    session = control.create("plan; say one; wait go; job c1; wait end; finish", autoApprove=CEILING)
    control.settle_until(session, lambda view: view["statusInfo"] == "one")
    zombie.send(signal.SIGSTOP)
    frozen, begun = control.events(session), epochs_of(control, session, "start")
    (zombie.workspace(session) / "go").touch()  # its runner goes on, and speaks to a process that stands still
    heir = WorkerProcess(control.settings, control.settings.home / "h")
    workers.append(heir)
    control.settle_until(session, lambda view: len(epochs_of(control, session, "start")) > len(begun), seconds=150)
    old, new = frozen[-1]["epoch"], epochs_of(control, session, "start")[-1]
    zombie.send(signal.SIGCONT)
    wait_until(lambda: control.runner_count_in(zombie.workspace(session)) == 0)
    assert jobs.posted == []
    (heir.workspace(session) / "go").touch()
    wait_until(lambda: jobs.posted == ["c1"])
    (heir.workspace(session) / "end").touch()
    control.settle(session, "succeeded")
    late = control.events(session)[len(frozen) :]
    assert old not in {event["epoch"] for event in late}
    assert [event["epoch"] for event in control.events(session)] == sorted(
        event["epoch"] for event in control.events(session)
    )
    assert jobs.posted == ["c1"]
    with sqlite3.connect(control.settings.home / "control.db") as db:
        ended = dict(db.execute("SELECT epoch, ended FROM turns WHERE session_id = ?", (session,)))
    assert ended[old] is None, "even the end of its turn is not its to write"
    assert ended[new] is not None


def wait_until(reached: Any, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_the_command_starts_a_worker_and_a_stop_ends_it(control: ControlServer, workers: list[WorkerProcess]) -> None:
    worker = WorkerProcess(control.settings, control.settings.home / "c", command=["cli.operator", "worker"])
    workers.append(worker)
    worker.wait_ready()
    worker.end()
    assert worker.process.returncode == 0
    assert "Traceback" not in worker.log.read_text()
