"""More than was approved: the real control process, gateway and reaper, before a platform that tells a job's cost."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.fixtures.asgi import serving
from tests.fixtures.control import ControlServer
from tests.fixtures.databases import Databases

TO_THE_LIMIT = "plan 1.50; phase sweep started; job c1; until_ended c1"
"""A job that was approved for 0.75, and costs more."""


class Jobs:
    """Jobs that cost 0.76 from their first second on, and run until they are cancelled."""

    def __init__(self) -> None:
        self.states: dict[str, str] = {}
        self.posted: list[str] = []

    def app(self) -> Starlette:
        path = "/v1/accounts/acct/supervisedFineTuningJobs"
        return Starlette(
            routes=[
                Route(path, self.create, methods=["POST"]),
                Route(path + "/{job}:cancel", self.cancel, methods=["POST"]),
                Route(path + "/{job}", self.get),
            ]
        )

    async def create(self, request: Request) -> Response:
        name = request.query_params["supervisedFineTuningJobId"]
        self.posted.append(name)
        self.states[name] = "JOB_STATE_RUNNING"
        return self._show(name)

    async def cancel(self, request: Request) -> Response:
        self.states[request.path_params["job"]] = "JOB_STATE_CANCELLED"
        return JSONResponse({})

    async def get(self, request: Request) -> Response:
        return self._show(request.path_params["job"])

    def _show(self, name: str) -> Response:
        money = {"currencyCode": "USD", "units": "0", "nanos": 760_000_000}
        full = f"accounts/acct/supervisedFineTuningJobs/{name}"
        return JSONResponse({"name": full, "state": self.states[name], "estimatedCost": money})


@pytest.fixture(scope="module")
def platform() -> Iterator[tuple[Jobs, str]]:
    jobs = Jobs()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        await jobs.app()(scope, receive, send)

    with serving(app) as url:
        yield jobs, url


@pytest.fixture(scope="module")
def control(
    platform: tuple[Jobs, str], tmp_path_factory: pytest.TempPathFactory, module_databases: Databases
) -> Iterator[ControlServer]:
    home = tmp_path_factory.mktemp("i")
    settings = {"platform_url": platform[1], "platform_key": SecretStr("fw_x")}
    server = ControlServer(home, database_url=module_databases.url(home / "control.db"), **settings).start()
    yield server
    server.stop()


@pytest.fixture
def jobs(platform: tuple[Jobs, str]) -> Jobs:
    platform[0].states.clear()
    platform[0].posted.clear()
    return platform[0]


def to_the_question(control: ControlServer, rest: str, **more: Any) -> tuple[str, dict[str, Any]]:
    """A session whose job the reaper ended, and its view when it waits for more."""
    session = control.create(f"{TO_THE_LIMIT}; increase c1; {rest}", **more)
    control.settle(session, "waiting")
    control.update(session, instruction="Approved, proceed.")
    return session, control.settle(session, "waiting", turn=2)


def test_what_is_asked_is_rendered_from_the_plan_and_the_ledger(control: ControlServer, jobs: Jobs) -> None:
    session, view = to_the_question(control, "finish")
    assert view["question"]["kind"] == "spend_increase"
    assert view["question"]["planHash"] == view["plan"]["planHash"]
    text = view["statusInfo"]
    assert text == view["question"]["text"]
    assert "it is free" not in text
    assert "was ended at its approved cost: it had cost $0.7600 of $0.7500, at 20 %" in text
    assert "Spent in this session so far: **$0.7600**" in text
    assert view["cost"]["ended"][0]["reason"] == "ended at its approved cost, $0.7500"
    assert "ended at its approved cost" in str([e["payload"] for e in control.events(session) if e["type"] == "rpc"])


def test_nothing_proceeds_before_the_approval_and_only_the_new_plan_after_it(
    control: ControlServer, jobs: Jobs
) -> None:
    session, view = to_the_question(control, "job c1-r2; job c1-r3; finish")
    control.wait_idle(session)
    assert jobs.posted == ["c1"]
    assert view["cost"]["reserved"] == "0.000000"
    stale = {"questionId": view["question"]["questionId"], "decision": "approve", "planHash": "0" * 64}
    assert control.update(session, 409, answer=stale)["error"]["status"] == "ABORTED"
    control.update(session, instruction="Approved if it is cheap.")
    assert control.get(f"/{session}")["status"] == "waiting"
    assert control.get(f"/{session}")["plan"]["approvedBy"] is None
    assert jobs.posted == ["c1"]
    control.update(session, instruction="Approved, proceed.", planHash=view["plan"]["planHash"])
    cost = control.settle(session, "succeeded")["cost"]
    assert [(line["grant"], line["high"], line["calls"]) for line in cost["lines"]] == [("sweep", "0.750000", 1)] * 2
    assert (control.workspace(session) / "jobs.txt").read_text() == "c1 200\nc1-r2 200\nc1-r3 403\n"
    assert jobs.posted == ["c1", "c1-r2"]


def test_rejecting_ends_it_and_spends_nothing_more(control: ControlServer, jobs: Jobs) -> None:
    session, view = to_the_question(control, "job c1-r2; finish")
    assert control.update(session, instruction="Reject.")["status"] == "cancelled"
    after = control.get(f"/{session}")["cost"]
    assert (after["soFar"], after["reserved"], after["approved"]) == (view["cost"]["soFar"], "0.000000", "0.760000")
    assert jobs.posted == ["c1"]
    phases = [event["payload"] for event in control.events(session) if event["type"] == "phase"]
    assert [(phase["phase"], phase["state"]) for phase in phases] == [
        ("sweep", "started"),
        ("sweep", "completed"),
        *[(name, "skipped") for name in ("train", "evaluate", "deploy", "report")],
    ]


SLOW = pytest.mark.slow
FORGED = ["spent=0.01", "soFar=0.10", "previous=0", "limit=failed"]
MORE = ["approved=9.00", "limit=time", "resource=accounts/acct/x/y"]


@pytest.mark.parametrize("forged", [*FORGED, *(pytest.param(words, marks=SLOW) for words in MORE)])
def test_a_preview_with_a_false_past_is_refused(control: ControlServer, jobs: Jobs, forged: str) -> None:
    session = control.create(f"{TO_THE_LIMIT}; increase c1 {forged}; finish")
    control.settle(session, "waiting")
    control.update(session, instruction="Approved, proceed.")
    view = control.settle(session, "failed")
    assert view["plan"]["approvedBy"]  # still the old one
    assert jobs.posted == ["c1"]


def test_a_plan_is_never_shown_as_something_else(control: ControlServer, jobs: Jobs) -> None:
    """A first plan as an increase would hide its cost; an increase as a first plan would hide the past."""
    session = control.create("plan 1.50; pretend spend_increase; finish")
    control.settle(session, "waiting")
    control.update(session, instruction="Approved, proceed.")
    control.settle(session, "failed")
    other = control.create(f"{TO_THE_LIMIT}; increase c1; pretend plan_approval; finish")
    control.settle(other, "waiting")
    control.update(other, instruction="Approved, proceed.")
    control.settle(other, "waiting", turn=2)
    control.update(other, instruction="Approved, proceed.")
    control.settle(other, "failed")


@pytest.mark.parametrize(("ceiling", "status"), [("2.26", "succeeded"), ("2.25", "waiting")])
def test_auto_approve_counts_what_was_spent(control: ControlServer, jobs: Jobs, ceiling: str, status: str) -> None:
    """The first plan was up to 1.50, 0.76 is spent, and 1.50 more is asked."""
    kinds = ["plan_approval", "spend_increase"]
    envelope = {"maxUsd": ceiling, "expireTime": "2100-01-01T00:00:00Z", "kinds": kinds}
    session = control.create(f"{TO_THE_LIMIT}; increase c1; finish", autoApprove=envelope)
    view = control.settle(session, status)
    assert Decimal(view["cost"]["soFar"]) == Decimal("0.76")
