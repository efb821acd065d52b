"""The inference routes on a real socket, with real engines and a resolver over a fixed set of deployments."""

import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import httpx
import pytest
import uvicorn
from fastapi import FastAPI, Header

from local_platform.serving.manager import EngineManager
from local_platform.serving.routes import inference_router
from local_platform.serving.targets import (
    AdapterFailed,
    Caller,
    DeploymentScalingUp,
    EngineKey,
    ServedModel,
    Target,
)
from pilotlight.errors import NotFound, Unauthenticated

BASE = "accounts/acme/models/base"
TUNED = "accounts/acme/models/tuned#accounts/acme/deployments/base"
MERGED = "accounts/acme/deployments/merged"


@dataclass(frozen=True)
class Person:
    account: str


@dataclass(frozen=True)
class FixedResolver:
    """Two running deployments, one scaled to zero, one whose adapter does not load."""

    base: EngineKey
    merged: EngineKey
    adapter: Path

    def resolve_model(self, caller: Caller, model: str) -> Target:
        if caller.account == "acme":
            if model == BASE:
                return Target(model, "accounts/acme/deployments/base", self.base)
            if model == TUNED:
                return Target(model, "accounts/acme/deployments/base", self.base, "tuned", self.adapter)
            if model == MERGED:
                return Target(model, MERGED, self.merged, context_length=100)
            if model == "accounts/acme/deployments/asleep":
                raise DeploymentScalingUp(model)
            if model == "accounts/acme/models/broken":
                raise AdapterFailed("The adapter does not fit its base model.")
        raise NotFound(f"Model {model} does not exist or is not deployed.")

    def list_models(self, caller: Caller) -> list[ServedModel]:
        return [ServedModel(BASE, 1_700_000_000, caller.account, 1024, "HF_BASE_MODEL")]


@dataclass(frozen=True)
class Served:
    """Where the server listens, and the engine of the base deployment."""

    url: str
    client: httpx.Client
    engines: EngineManager
    key: EngineKey

    @property
    def active(self) -> int:
        return self.engines.engine(self.key).active


def authenticate(authorization: Annotated[str | None, Header()] = None) -> Person:
    if authorization != "Bearer good":
        raise Unauthenticated("No valid API key was given.")
    return Person("acme")


@pytest.fixture(scope="session")
def served(tiny_checkpoint: Path, make_tiny_adapter: Callable[[int, int], Path]) -> Iterator[Served]:
    adapter = make_tiny_adapter(11, 4)
    base, merged = EngineKey(tiny_checkpoint), EngineKey(tiny_checkpoint, adapter)
    engines = EngineManager()
    for key in (base, merged):
        engines.ensure(key, "test")
    ready = threading.Event()
    while any(engines.status(key).state == "loading" for key in (base, merged)):
        ready.wait(0.02)
    app = FastAPI()
    app.include_router(inference_router(FixedResolver(base, merged, adapter), engines, authenticate))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with httpx.Client(base_url=url, timeout=60) as client:
            yield Served(url, client, engines, base)
        server.should_exit = True
        thread.join()
    engines.close()
