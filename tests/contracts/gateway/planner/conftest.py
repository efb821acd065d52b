"""A gateway with the planner's allowance, before a scripted model and a platform that counts what reaches it."""

import threading
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import Engine
from sqlmodel import Session
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gateway import Gateway, Principal, RpcRecord, allowance, grants
from pilotlight.plan import GrantSpec
from pilotlight.scripted_model import ScriptedModel, Turn
from pilotlight.settings import Settings
from tests.fixtures.asgi import serving
from tests.fixtures.databases import Databases
from tests.fixtures.plans import plan_of

MODEL_KEY = "sk-ant-planner-key-that-must-never-be-seen"
PLATFORM_KEY = "fw_platform_key_that_must_never_be_seen"
SESSION = "1779157376-41e1"
MODEL = "claude-sonnet-5-5"
PATH = "/planner/v1/messages"


@dataclass
class Slot:
    """A server for the whole run, with the test's own app behind it."""

    app: Any = None
    url: str = ""

    async def enter(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            for done in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{done}.complete"})
            return
        await self.app(scope, receive, send)


@dataclass
class Parts:
    """Everything of one test."""

    engine: Engine
    settings: Settings
    gateway: Gateway
    model: ScriptedModel
    url: str
    platform: list[str] = field(default_factory=list[str])
    answers: list[Response] = field(default_factory=list[Response])
    """What the platform answers, in order."""
    told: list[RpcRecord] = field(default_factory=list[RpcRecord])
    http: httpx.Client = field(default_factory=httpx.Client)
    slot: Slot = field(default_factory=Slot)
    """Where the model is served."""

    def ask(self, text: str = "hi", path: str = PATH, headers: dict[str, str] | None = None, **body: Any) -> Any:
        """One call of the runner."""
        return self.http.post(path, json=self.body(text, **body), headers=headers)

    def body(self, text: str = "hi", **more: Any) -> dict[str, Any]:
        """A small request; fields set to None are left out."""
        body = {"model": MODEL, "max_tokens": 10, "messages": [{"role": "user", "content": text}]} | more
        return {name: value for name, value in body.items() if value is not None}

    def cost(self) -> grants.CostSummary:
        with Session(self.engine.execution_options(readonly=True)) as db:
            return grants.cost(db, SESSION)

    def allowance(self) -> allowance.Allowance:
        with Session(self.engine.execution_options(readonly=True)) as db:
            found = allowance.read_allowance(db, SESSION)
        assert found is not None
        return found

    def approve(self, *specs: GrantSpec) -> None:
        with Session(self.engine) as db, db.begin():
            grants.write(db, SESSION, plan_of(list(specs), SESSION), "plan_approval", "user:ann")

    def reservations(self) -> list[tuple[str, int, int, str]]:
        """(state, reserved, actual, reason) in micro-dollars, in order."""
        columns = "state, amount_micros, accrued_micros, reason"
        with self.engine.connect() as db:
            rows = db.exec_driver_sql(f"SELECT {columns} FROM gateway_reservations ORDER BY id").all()
        return [(row[0], row[1], row[2], row[3]) for row in rows]

    def settled(self) -> list[tuple[str, int, int, str]]:
        """The same once nothing is under way: a stream is settled just after its last byte."""
        deadline = time.monotonic() + 10
        while "active" in [row[0] for row in self.reservations()]:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return self.reservations()

    def audit(self) -> list[tuple[str, str, str]]:
        """(method, verdict, rule), in order."""
        with self.engine.connect() as db:
            rows = db.exec_driver_sql("SELECT method, verdict, rule FROM gateway_audit ORDER BY seq").all()
        return [(row[0], row[1], row[2]) for row in rows]


@pytest.fixture(scope="session")
def slot() -> Generator[Slot]:
    """The model's server, running."""
    slot = Slot()
    with serving(slot.enter) as slot.url:
        yield slot


@pytest.fixture
def parts(tmp_path: Path, stage: Any, slot: Slot, databases: Databases) -> Generator[Callable[..., Parts]]:
    """Builds the parts: the script, who calls, and further settings."""
    opened: list[Parts] = []

    def build(*turns: Turn, caller: Principal | None = None, limit: str | None = None, **settings: Any) -> Parts:
        values: dict[str, Any] = {"anthropic_key": SecretStr(MODEL_KEY), "anthropic_url": slot.url} | settings
        made = Settings(home=tmp_path, account="acme", platform_key=SecretStr(PLATFORM_KEY), **values)
        engine = databases.open(tmp_path / f"control-{len(opened)}.db")
        found = Parts(engine, made, None, ScriptedModel(turns, key=MODEL_KEY), stage.front_url)  # pyright: ignore

        async def listen(record: RpcRecord) -> None:
            found.told.append(record)

        found.gateway = Gateway(engine, made, stage.upstream, listen)
        with Session(engine) as db, db.begin():
            allowance.write_allowance(db, SESSION, made, None if limit is None else Decimal(limit))
            if limit is not None:
                grants.set_limit(db, SESSION, Decimal(limit))
        principal = caller or Principal("session", "acme", session=SESSION, user="ann")

        async def enter(scope: Any, receive: Any, send: Any) -> None:
            response = await found.gateway.forward(principal, Request(scope, receive))
            await response(scope, receive, send)

        async def serve_platform(scope: Any, receive: Any, send: Any) -> None:
            found.platform.append(scope["path"])
            response = found.answers.pop(0) if found.answers else JSONResponse({"choices": []})
            await response(scope, receive, send)

        stage.front, stage.platform, slot.app = enter, serve_platform, found.model.app()
        found.slot, found.http = slot, httpx.Client(base_url=stage.front_url, timeout=30)
        opened.append(found)
        return found

    yield build
    for one in opened:
        one.http.close()
        one.gateway.close()
        one.engine.dispose()


@pytest.fixture
def together() -> Callable[[int, Callable[[], Any]], list[Any]]:
    """Run the same thing in many threads at once; what they return."""

    def run(count: int, work: Callable[[], Any]) -> list[Any]:
        results: list[Any] = []
        ready = threading.Barrier(count)

        def one() -> None:
            ready.wait()
            results.append(work())

        threads = [threading.Thread(target=one) for _ in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return results

    return run
