"""A gateway in front of a real HTTP server that speaks the platform's wire format and writes down what reached it."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import Engine
from sqlmodel import Session
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from agent.protocol import guard
from gateway import Gateway, PlatformClient, Principal, RpcRecord, grants
from pilotlight.clock import now, to_rfc3339
from pilotlight.plan import GrantSpec, Phase, Plan, Rule
from pilotlight.pricebook import PriceBook
from pilotlight.settings import Settings
from tests.fixtures import plans
from tests.fixtures.asgi import serving
from tests.fixtures.databases import Databases

KEY = "fw_the_platform_key_that_must_never_be_seen"
SESSION = "1779157376-41e1"
ME = Principal("session", "acme", session=SESSION, user="ann")


@dataclass
class Seen:
    """One request that reached the platform."""

    verb: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class RecordingPlatform:
    """Resources in a dict; `fail_next` makes the next create answer that status, after (`after`) or before doing it."""

    seen: list[Seen] = field(default_factory=list[Seen])
    resources: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    files: dict[str, bytes] = field(default_factory=dict[str, bytes])
    replica_seconds: dict[str, float] = field(default_factory=dict[str, float])
    fail_next: int = 0
    fail_after: bool = False
    silent_about: str = ""
    """Reads whose path contains this are answered 500."""
    url: str = ""

    def app(self) -> Starlette:
        verbs = ["GET", "POST", "PATCH", "DELETE", "PUT"]
        return Starlette(routes=[Route("/{path:path}", self._serve, methods=verbs)])

    def targets(self) -> list[str]:
        return [f"{one.verb} {one.target}" for one in self.seen]

    async def _serve(self, request: Request) -> Response:
        query = f"?{request.url.query}" if request.url.query else ""
        seen = Seen(request.method, request.url.path + query, dict(request.headers), await request.body())
        if request.url.path.startswith("/files/"):
            assert "authorization" not in request.headers
            return Response(self.files[request.url.path.removeprefix("/files/")])
        self.seen.append(seen)
        if request.headers.get("authorization") != f"Bearer {KEY}":
            return JSONResponse({"code": 16, "message": "no"}, 401)
        if self.silent_about and request.method == "GET" and self.silent_about in request.url.path:
            return JSONResponse({"code": 13, "message": "broken"}, 500)
        if request.url.path.endswith("/chat/completions"):
            return self._chat(seen)
        if request.url.path.endswith("/billingUsage"):
            return self._usage()
        return self._resource(request, seen)

    def _resource(self, request: Request, seen: Seen) -> Response:
        name, _, custom = request.url.path.removeprefix("/v1/").partition(":")
        if request.method == "POST" and not custom:
            return self._create(name, request, seen)
        if custom == "getDownloadEndpoint":
            return JSONResponse({"filenameToSignedUrls": {f: f"{self.url}/files/{f}" for f in sorted(self.files)}})
        if custom == "cancel":
            self.resources[name]["state"] = "JOB_STATE_CANCELLED"
        if custom:
            return JSONResponse({"custom": custom, "bytes": len(seen.body)}, headers={"x-internal-node": "n7"})
        if name.count("/") == 2:
            items = [item for key, item in self.resources.items() if key.startswith(name + "/")]
            return JSONResponse({name.rpartition("/")[2]: items})
        if name not in self.resources:
            return JSONResponse({"code": 5, "message": f"{name} not found"}, 404)
        if request.method == "DELETE":
            return JSONResponse(self.resources.pop(name))
        return JSONResponse(self.resources[name], headers={"set-cookie": "provider=1", "x-internal-node": "n7"})

    def _create(self, parent: str, request: Request, seen: Seen) -> Response:
        body = seen.json
        ids = [value for key, value in (dict(request.query_params) | body).items() if key.endswith("Id")]
        name = f"{parent}/{ids[0] if ids else 'auto-' + str(len(self.resources))}"
        code, self.fail_next = self.fail_next, 0
        if code and not self.fail_after:
            return JSONResponse({"code": 13, "message": "broken"}, code)
        if name in self.resources:
            return JSONResponse({"code": 6, "message": "exists"}, 409, headers={"x-should-retry": "false"})
        fields = body.get("dataset") if isinstance(body.get("dataset"), dict) else body
        state = "JOB_STATE_RUNNING" if "Job" in parent else "READY"
        self.resources[name] = fields | {"name": name, "state": state, "createTime": to_rfc3339(now())}
        if code:
            return JSONResponse({"code": 13, "message": "lost"}, code)
        return JSONResponse(self.resources[name])

    def _chat(self, seen: Seen) -> Response:
        body = seen.json
        if body["model"].endswith("/asleep"):
            error = {"error": {"code": "DEPLOYMENT_SCALING_UP", "message": "scaling up", "type": "unavailable"}}
            return JSONResponse(error, 503, headers={"retry-after": "5"})
        if body["model"].endswith("/lossy"):
            return JSONResponse({"error": {"code": "UNAVAILABLE", "message": "lost"}}, 503)
        if not body.get("stream"):
            return JSONResponse({"choices": [{"message": {"content": "hi"}}], "model": body["model"]})
        return StreamingResponse(self._words(), media_type="text/event-stream")

    async def _words(self) -> AsyncIterator[bytes]:
        for word in ("one", "two", "three"):
            yield f"data: {word} {time.monotonic()}\n\n".encode()
            await asyncio.sleep(0.3)

    def _usage(self) -> Response:
        rows = [
            {"acceleratorSeconds": str(seconds), "group": {"deployment_name": name}}
            for name, seconds in self.replica_seconds.items()
        ]
        return JSONResponse({"dedicatedCosts": rows})


def plan_of(specs: list[GrantSpec], session: str = SESSION, **more: Any) -> Plan:
    return plans.plan_of(specs, session, **more)


def job_body(**changes: Any) -> dict[str, Any]:
    return {
        "dataset": "accounts/acme/datasets/d1",
        "baseModel": "accounts/fireworks/models/ember-500k",
        "outputModel": "accounts/acme/models/out-1",
        "epochs": 1.5,
        "loraRank": 8,
        "evalAutoCarveout": False,
    } | changes


def job_grant(max_calls: int = 1, max_cost: str = "0.10", name: str = "c1", **more: Any) -> GrantSpec:
    rules = {f"body.{key}": Rule.exactly(value) for key, value in job_body().items()}
    rules["query.supervisedFineTuningJobId"] = Rule(one_of=[f"ft-{n}" for n in range(64)])
    return GrantSpec(
        id=name, gate=more.pop("gate", "plan_approval"), method="CreateSupervisedFineTuningJob", rules=rules,
        max_calls=max_calls, max_cost=Decimal(max_cost), phase=Phase.TRAIN, text="the job", **more,
    )  # fmt: skip


def chat_grant(max_calls: int = 5) -> GrantSpec:
    models = [f"accounts/acme/deployments/{name}" for name in ("d", "asleep", "lossy")]
    rules = {
        "body.model": Rule(one_of=models),
        "body.messages": Rule(max_bytes=1000),
        "body.max_tokens": Rule(minimum=1, maximum=64),
    }
    return GrantSpec(
        id="ask", gate="plan_approval", method="CreateChatCompletion", rules=rules, max_calls=max_calls,
        max_cost=Decimal(0), phase=Phase.EVALUATE, text="questions",
    )  # fmt: skip


def deployment_grant(hours: float = 1.0, max_cost: str = "0.20") -> GrantSpec:
    rules = {
        "query.deploymentId": Rule.exactly("dep-1"),
        "body.baseModel": Rule.exactly("accounts/acme/models/out-1"),
        "body.minReplicaCount": Rule.exactly(0),
        "body.maxReplicaCount": Rule(minimum=0, maximum=8),
        "body.autoscalingPolicy.scaleToZeroWindow": Rule(one_of=["300s", "0s", "5m", None]),
    }
    return GrantSpec(
        id="deploy", gate="plan_approval", method="CreateDeployment", rules=rules, max_calls=1,
        max_cost=Decimal(max_cost), max_hours=hours, phase=Phase.DEPLOY, text="the deployment",
    )  # fmt: skip


@dataclass
class Bench:
    """All parts of one test: the gateway as served, what its platform saw, what the agent was told."""

    engine: Engine
    gateway: Gateway
    platform: RecordingPlatform
    told: list[RpcRecord]
    settings: Settings
    serve: Callable[[Principal], httpx.Client]
    me: httpx.Client

    def in_process(self, work: Callable[[Gateway], Awaitable[Any]], url: str = "") -> Any:
        """Run `work` with a gateway of its own on the same database, in a loop of its own."""

        async def run() -> Any:
            async with PlatformClient(url or self.platform.url) as upstream:
                gateway = Gateway(self.engine, self.settings, upstream, self.gateway.listener)
                try:
                    return await work(gateway)
                finally:
                    gateway.close()

        return asyncio.run(run())

    def approve(
        self, *specs: GrantSpec, approver: str = "user:ann", prices: PriceBook | None = None, **more: Any
    ) -> Plan:
        plan = plan_of(list(specs), **more)
        with Session(self.engine) as db, db.begin():
            grants.write(db, plan.session, plan, "plan_approval", approver, prices=prices)
        return plan

    def cost(self, session: str = SESSION) -> grants.CostSummary:
        with Session(self.engine.execution_options(readonly=True)) as db:
            return grants.cost(db, session)

    chat_grant = staticmethod(chat_grant)

    def create_job(self, number: int = 1, key: str | None = None, **changes: Any) -> httpx.Response:
        return self.me.post(
            "/v1/accounts/acme/supervisedFineTuningJobs",
            params={"supervisedFineTuningJobId": f"ft-{number}"},
            json=job_body(**changes),
            headers={"Idempotency-Key": key or f"job-{number}"},
        )


class Stage:
    """Two servers for the whole run, the platform's and the gateway's; each test puts its own parts behind them."""

    def __init__(self) -> None:
        self.platform: Any = None
        self.front: Any = None
        self.platform_url = self.front_url = ""
        self.upstream = PlatformClient("")

    async def enter_platform(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            return await _live(receive, send, None)
        await self.platform(scope, receive, send)

    async def enter_front(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            return await _live(receive, send, self.upstream)
        await self.front(scope, receive, send)


async def _live(receive: Any, send: Any, upstream: PlatformClient | None) -> None:
    """The ASGI lifespan: the client to the platform closes in the loop that used it."""
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    if upstream is not None:
        await upstream.aclose()
    await send({"type": "lifespan.shutdown.complete"})


@pytest.fixture(scope="session")
def stage() -> Generator[Stage]:
    """Both servers, running."""
    stage = Stage()
    with (
        serving(stage.enter_platform) as stage.platform_url,
        serving(stage.enter_front, http=guard(Settings(), connections=512)) as stage.front_url,
    ):
        stage.upstream.base_url = stage.platform_url
        yield stage


@pytest.fixture
def bench(tmp_path: Path, stage: Stage, databases: Databases) -> Generator[Bench]:
    """A gateway with its own database behind the front, and an empty recording platform behind it."""
    engine = databases.open(tmp_path / "control.db")
    platform, told = RecordingPlatform(url=stage.platform_url), list[RpcRecord]()
    settings = Settings(home=tmp_path, account="acme", platform_key=SecretStr(KEY))

    async def listen(record: RpcRecord) -> None:
        told.append(record)

    gateway = Gateway(engine, settings, stage.upstream, listen)
    fronts, clients = {"0": ME}, list[httpx.Client]()

    async def enter(scope: Any, receive: Any, send: Any) -> None:
        principal = fronts[dict(scope["headers"]).get(b"x-test-front", b"0").decode()]
        response = await gateway.forward(principal, Request(scope, receive))
        await response(scope, receive, send)

    def serve(principal: Principal) -> httpx.Client:
        number = str(len(fronts))
        fronts[number] = principal
        clients.append(httpx.Client(base_url=stage.front_url, headers={"x-test-front": number}, timeout=30))
        return clients[-1]

    stage.platform, stage.front = platform.app(), enter
    clients.append(httpx.Client(base_url=stage.front_url, timeout=30))
    yield Bench(engine, gateway, platform, told, settings, serve, clients[0])
    for client in clients:
        client.close()
    gateway.close()
    engine.dispose()


@pytest.fixture
def chat(bench: Bench) -> Callable[..., dict[str, Any]]:
    """A chat body that the approved grant covers."""
    bench.approve(chat_grant())

    def build(model: str = "accounts/acme/deployments/d", **more: Any) -> dict[str, Any]:
        return {"model": model, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 8} | more

    return build


@pytest.fixture
def chat_body() -> dict[str, Any]:
    """A chat body with nothing approved."""
    messages = [{"role": "user", "content": "hi"}]
    return {"model": "accounts/acme/deployments/d", "messages": messages, "max_tokens": 8}


@pytest.fixture(name="job_grant")
def _job_grant() -> Callable[..., GrantSpec]:
    return job_grant


@pytest.fixture(name="job_body")
def _job_body() -> Callable[..., dict[str, Any]]:
    return job_body


@pytest.fixture(name="deployment_grant")
def _deployment_grant() -> Callable[..., GrantSpec]:
    return deployment_grant


@pytest.fixture(name="plan_of")
def _plan_of() -> Callable[..., Plan]:
    return plan_of


@pytest.fixture
def session_principal() -> Callable[[str], Principal]:
    return lambda session: Principal("session", "acme", session=session, user="ann")
