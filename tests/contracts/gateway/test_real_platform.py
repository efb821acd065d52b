"""The gateway in front of the local platform itself: a session's data, job and deployment, paid for to the cent."""

import asyncio
import base64
import json
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from fireworks import ConflictError, Fireworks, NotFoundError, PermissionDeniedError
from pydantic import SecretStr
from sqlalchemy import Engine, text
from sqlmodel import Session
from starlette.requests import Request

from gateway import Gateway, PlatformClient, Principal, audit, grants
from gateway.reaper import Reaper
from manifest.registry import routes, shape_of
from pilotlight.plan import GrantSpec, Phase, Rule
from pilotlight.settings import Settings
from pilotlight.sources import pack
from tests.fixtures.asgi import serving
from tests.fixtures.databases import Databases
from tests.fixtures.fence import every_turn
from tests.fixtures.plans import plan_of
from tests.fixtures.platform import PlatformProcess, PlatformServer, import_base

SESSION = "1779157376-41e1"
ME = Principal("session", "acme", session=SESSION, user="ann")
JOB = f"ft-{SESSION}-final"
DEPLOYMENT = f"ft-{SESSION}-deploy"


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: Path) -> Iterator[PlatformServer]:
    process = PlatformProcess(tmp_path_factory.mktemp("home"))
    try:
        server = process.start()
        import_base(server, tiny_checkpoint, "tiny-base")
        yield server
    finally:
        process.stop()


@asynccontextmanager
async def open_gateway(engine: Engine, platform: PlatformServer) -> AsyncGenerator[tuple[Gateway, httpx.AsyncClient]]:
    """A gateway on the real platform, and a client that is the session's runner."""
    settings = Settings(home=platform.home, account="acme", platform_key=SecretStr(platform.key))
    async with PlatformClient(platform.base_url) as upstream:
        gateway = Gateway(engine, settings, upstream, is_running=every_turn)

        async def app(scope: Any, receive: Any, send: Any) -> None:
            response = await gateway.forward(ME, Request(scope, receive))
            await response(scope, receive, send)

        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway", timeout=60) as runner:
            yield gateway, runner
        gateway.close()


def job_body() -> dict[str, Any]:
    return {
        "dataset": "accounts/acme/datasets/mine",
        "baseModel": "accounts/fireworks/models/tiny-base",
        "outputModel": f"accounts/acme/models/{JOB}",
        "loraRank": 4,
        "epochs": 1.0,
        "evalAutoCarveout": False,
    }


def deployment_body() -> dict[str, Any]:
    return {
        "baseModel": f"accounts/acme/models/{JOB}",
        "minReplicaCount": 0,
        "maxReplicaCount": 1,
        "autoscalingPolicy": {"scaleToZeroWindow": "300s"},
    }


def exactly(body: dict[str, Any], query: dict[str, str]) -> dict[str, Rule]:
    named = {f"body.{key}": value for key, value in body.items()} | {f"query.{k}": v for k, v in query.items()}
    return {name: Rule.exactly(value) for name, value in named.items()}


def specs() -> list[GrantSpec]:
    """What a plan for one job, one deployment of three minutes and some questions would grant."""
    common: dict[str, Any] = {"gate": "plan_approval", "phase": Phase.TRAIN, "text": "approved"}
    ask = {
        "body.model": Rule.exactly(f"accounts/acme/deployments/{DEPLOYMENT}"),
        "body.messages": Rule(max_bytes=1000),
        "body.max_tokens": Rule(minimum=1, maximum=16),
    }
    return [
        GrantSpec(
            id="job", method="CreateSupervisedFineTuningJob", max_calls=1, max_cost=Decimal("0.05"),
            rules=exactly(job_body(), {"supervisedFineTuningJobId": JOB}), **common,
        ),
        GrantSpec(
            id="deploy", method="CreateDeployment", max_calls=1, max_cost=Decimal("0.01"), max_hours=0.05,
            rules=exactly(deployment_body(), {"deploymentId": DEPLOYMENT}), **common,
        ),
        GrantSpec(id="ask", method="CreateChatCompletion", max_calls=3, max_cost=Decimal(0), rules=ask, **common),
    ]  # fmt: skip


async def upload(runner: httpx.AsyncClient, rows: bytes) -> None:
    body = {"datasetId": "mine", "dataset": {"userUploaded": {}, "format": "CHAT", "exampleCount": "24"}}
    for _ in range(2):  # the second is a replay
        answer = await runner.post("/v1/accounts/acme/datasets", json=body, headers={"idempotency-key": "d"})
        assert answer.status_code == 200, answer.text
    files = {"file": ("rows.jsonl", rows, "application/jsonl")}
    path = "/v1/accounts/acme/datasets/mine"
    answer = await runner.post(f"{path}:upload", files=files, headers={"idempotency-key": "u"})
    assert answer.status_code == 200, answer.text
    assert (await runner.post(f"{path}:validateUpload", json={})).status_code == 200
    assert (await until(runner, path, ("READY",)))["exampleCount"] == "24"
    downloaded = await runner.get(f"{path}:download")
    assert downloaded.content == rows


async def until(runner: httpx.AsyncClient, path: str, states: tuple[str, ...]) -> dict[str, Any]:
    for _ in range(600):
        found = (await runner.get(path)).json()
        if found.get("state") in states:
            return found
        assert "FAIL" not in found.get("state", ""), found
        await asyncio.sleep(0.1)
    raise TimeoutError(path)


async def train(runner: httpx.AsyncClient) -> dict[str, Any]:
    path = "/v1/accounts/acme/supervisedFineTuningJobs"
    sent: dict[str, Any] = {"params": {"supervisedFineTuningJobId": JOB}, "headers": {"idempotency-key": "j"}}
    greedy = await runner.post(path, json=job_body() | {"epochs": 50}, **sent)
    assert greedy.status_code == 403
    first = await runner.post(path, json=job_body(), **sent)
    assert first.status_code == 200, first.text
    assert (await runner.post(path, json=job_body(), **sent)).json()["name"] == first.json()["name"]
    assert (await runner.post(f"{path}/{JOB}:cancel", json={})).status_code == 403
    return await until(runner, f"{path}/{JOB}", ("JOB_STATE_COMPLETED",))


async def deploy_and_ask(runner: httpx.AsyncClient) -> None:
    sent: dict[str, Any] = {"params": {"deploymentId": DEPLOYMENT}, "headers": {"idempotency-key": "p"}}
    answer = await runner.post("/v1/accounts/acme/deployments", json=deployment_body(), **sent)
    assert answer.status_code == 200, answer.text
    await until(runner, f"/v1/accounts/acme/deployments/{DEPLOYMENT}", ("READY",))
    question = {
        "model": f"accounts/acme/deployments/{DEPLOYMENT}",
        "messages": [{"role": "user", "content": "hello"}],
        "max_tokens": 4,
    }
    for _ in range(100):
        answer = await runner.post("/inference/v1/chat/completions", json=question)
        if answer.status_code == 200:
            assert answer.json()["choices"][0]["message"]["role"] == "assistant"
            return
        assert answer.json()["error"]["code"] == "DEPLOYMENT_SCALING_UP", answer.text
        await asyncio.sleep(0.2)
    raise TimeoutError("the deployment never woke up")


def money(value: dict[str, Any]) -> Decimal:
    return Decimal(str(value.get("units") or 0)) + Decimal(str(value.get("nanos") or 0)) / 10**9


AN_HOUR_LATER = "UPDATE gateway_reservations SET until = '2026-01-01T00:00:00.000000Z' WHERE billing = 'deployment'"
"""Its time is up at once, so that the test need not wait for it."""


def test_a_session_from_data_to_deployment(platform: PlatformServer, tmp_path: Path, databases: Databases) -> None:
    engine = databases.open(tmp_path / "control.db")
    plan = plan_of(specs(), SESSION)

    def cost() -> grants.CostSummary:
        with Session(engine.execution_options(readonly=True)) as db:
            return grants.cost(db, SESSION)

    async def live() -> None:
        async with open_gateway(engine, platform) as (gateway, runner):
            rows = b"".join(chat_row(number) for number in range(24))
            await upload(runner, rows)
            with Session(engine) as db, db.begin():
                grants.write(db, SESSION, plan, "plan_approval", "user:ann")
            reaper = Reaper(gateway, interval=0.2)
            watching = asyncio.create_task(reaper.run())
            job = await train(runner)
            await reaper.step()
            paid = money(job["estimatedCost"])
            assert paid > 0
            assert abs(cost().so_far - paid) < Decimal("0.000002")
            await deploy_and_ask(runner)
            assert cost().running[0].resource.endswith(DEPLOYMENT)
            await gateway.store.durable(lambda db: db.execute(text(AN_HOUR_LATER)))
            for _ in range(300):
                if not cost().running:
                    break
                await asyncio.sleep(0.1)
            watching.cancel()
            gone = await runner.get(f"/v1/accounts/acme/deployments/{DEPLOYMENT}")
            assert gone.status_code == 404 or gone.json()["state"] in ("DELETED", "DELETING")
            final = cost()
            assert final.running == []
            assert final.reserved == 0
            assert paid < final.so_far <= paid + Decimal("0.01")
            names = gateway.created_by(SESSION)
            assert {name.split("/")[2] for name in names} == {
                "datasets", "models", "supervisedFineTuningJobs", "deployments",
            }  # fmt: skip

    asyncio.run(live())
    assert audit.verify(engine).intact
    engine.dispose()


def test_a_session_registers_an_evaluator_and_reads_it_back(
    platform: PlatformServer, tmp_path: Path, databases: Databases
) -> None:
    engine, archive = databases.open(tmp_path / "control.db"), pack({"evaluator.py": "def evaluate(row, said): ..."})
    body = {"evaluatorId": "mine", "evaluator": {"displayName": "Mine"}}
    path = "/v1/accounts/acme/evaluators"

    async def live() -> None:
        async with open_gateway(engine, platform) as (gateway, runner):
            made = [
                await runner.post("/v1/accounts/acme/evaluatorsV2", json=body, headers={"idempotency-key": "e"})
                for _ in range(2)
            ]
            assert [answer.status_code for answer in made] == [200, 200]
            bad = await runner.post(
                f"{path}/mine:uploadSource", json={"archive": "?"}, headers={"idempotency-key": "b"}
            )
            assert (bad.status_code, "base64" in bad.text) == (400, True)
            sent = {"archive": base64.b64encode(archive).decode()}
            for _ in range(2):
                answer = await runner.post(f"{path}/mine:uploadSource", json=sent, headers={"idempotency-key": "s"})
                assert answer.status_code == 200, answer.text
            await until(runner, f"{path}/mine", ("ACTIVE",))
            assert (await runner.get(f"{path}/mine:downloadSource")).content == archive
            with Fireworks(api_key=platform.key, account_id="acme", base_url=platform.base_url) as sdk:
                sdk.evaluators.create(evaluator_id="theirs", evaluator={})
            foreign = await runner.post(f"{path}/theirs:uploadSource", json=sent)
            assert (foreign.status_code, "not created by this session" in foreign.text) == (403, True)
            assert (await runner.delete(f"{path}/mine")).status_code == 403
            assert gateway.created_by(SESSION) == ["accounts/acme/evaluators/mine"]

    asyncio.run(live())
    engine.dispose()


def test_the_official_clients_work_through_the_gateway(
    platform: PlatformServer, tmp_path: Path, databases: Databases
) -> None:
    """The SDK, unchanged, as a user with a key of its own."""
    engine = databases.open(tmp_path / "control.db")
    settings = Settings(home=platform.home, account="acme", platform_key=SecretStr(platform.key))
    upstream = PlatformClient(platform.base_url)
    gateway = Gateway(engine, settings, upstream, is_running=every_turn)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await upstream.aclose()
            await send({"type": "lifespan.shutdown.complete"})
            return
        response = await gateway.forward(Principal("user", "acme", user="bob"), Request(scope, receive))
        await response(scope, receive, send)

    with serving(app) as url, Fireworks(api_key="fw_bobs", account_id="acme", base_url=url, max_retries=0) as sdk:
        assert "tiny-base" in [str(model.name).rpartition("/")[2] for model in sdk.models.list(account_id="fireworks")]
        sdk.datasets.create(dataset_id="bobs", dataset={"user_uploaded": {}, "example_count": "24"})
        sdk.datasets.upload("bobs", file=b"".join(chat_row(number) for number in range(24)))
        sdk.datasets.validate_upload("bobs", body={})
        assert sdk.datasets.get("bobs").state == "READY"
        assert [one.name for one in sdk.datasets.list(filter='displayName = "none"', page_size=5)] == []
        job = sdk.supervised_fine_tuning_jobs.create(
            dataset="bobs",
            base_model="accounts/fireworks/models/tiny-base",
            supervised_fine_tuning_job_id="bobs-job",
            output_model="bobs-model",
            lora_rank=4,
        )
        assert job.name == "accounts/acme/supervisedFineTuningJobs/bobs-job"
        sdk.supervised_fine_tuning_jobs.cancel("bobs-job", body={})
        assert "CANCEL" in str(sdk.supervised_fine_tuning_jobs.get("bobs-job").state)
        with pytest.raises(NotFoundError):
            sdk.models.get("nothing")
        with pytest.raises(PermissionDeniedError, match="account"):
            sdk.models.list(account_id="other")
        with pytest.raises(ConflictError):
            sdk.datasets.create(dataset_id="bobs", dataset={"user_uploaded": {}})
        sdk.datasets.delete("bobs")
    gateway.close()
    engine.dispose()


def chat_row(number: int) -> bytes:
    turns = [{"role": "user", "content": f"question {number}"}, {"role": "assistant", "content": f"answer {number}"}]
    return json.dumps({"messages": turns}).encode() + b"\n"


INFRASTRUCTURE = {"/healthz", "/openapi.json", "/docs", "/docs/oauth2-redirect", "/redoc"}
"""Not the platform's API: documents, health, and signed transfers, whose signature is their right."""


def test_every_route_of_the_platform_is_in_the_registry(tmp_path: Path) -> None:
    """Closed world: a route that the registry does not know could be neither allowed nor refused by name."""
    from local_platform.app import build_app

    app = build_app(Settings(home=tmp_path, account="acme"))
    shapes = {(verb, shape_of(path)) for verb, path in walk(app.routes)}
    shapes = {(verb, shape.replace("/accounts/fireworks", "/accounts/{}")) for verb, shape in shapes}
    known = {key for key in shapes if key in routes()}
    assert sorted(shapes - known) == []
    assert len(known) > 60


def walk(items: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    for item in items:
        if hasattr(item, "original_router"):  # FastAPI keeps included routers as they are
            yield from walk(item.original_router.routes, prefix + item.include_context.prefix)
            continue
        path = prefix + item.path
        unoffered = path.endswith(("{rest:path}", ":{verb}")) or not getattr(item, "include_in_schema", True)
        if path in INFRASTRUCTURE or path.startswith("/signed/") or unoffered:
            continue
        for verb in sorted(item.methods - {"HEAD"}):
            yield verb, path
