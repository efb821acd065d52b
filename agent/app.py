"""Assembles the control process: Agent API, identity, and the front door to the platform, on one port."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import Depends, FastAPI
from fastapi.openapi.utils import get_openapi

from agent import evaluations, front, turn_api
from agent.calls import CallLog
from agent.closed_query import check_query
from agent.context import Control
from agent.dispatch import Dispatcher
from agent.failures import add_error_handlers
from agent.feeds import Feeds
from agent.fencing import is_running
from agent.launchers import Launcher, choose_launcher
from agent.notices.channel import open_channels
from agent.notices.deliverer import Deliverer
from agent.notices.outbox import set_channels
from agent.routes import artifacts, estimates, events, sessions
from agent.store import create_tables
from agent.sweeper import sweep_daily
from gateway import Gateway, PlatformClient
from gateway.reaper import Reaper
from pilotlight import __version__
from pilotlight.database import open_engine
from pilotlight.identity import bootstrap, identity_router
from pilotlight.schema import migrate
from pilotlight.settings import Settings


def build_app(settings: Settings, launcher: Launcher | None = None) -> FastAPI:
    """Open the database, create what is missing, and build the app. Turns run while its lifespan does.

    On first start the account and its admin key are created; the key is written to `<home>/admin.key`.
    """
    control = open_control(settings, launcher)
    bootstrap(control.engine, settings.account, settings.home / "admin.key")
    app = _new_app(control, lifespan=_lifespan)
    app.include_router(identity_router(control.engine), include_in_schema=False)
    for routes in (sessions, events, artifacts, estimates):
        app.include_router(routes.router, dependencies=[Depends(check_query)])
    app.include_router(front.router)
    app.add_api_route("/healthz", _check_health, include_in_schema=False)
    app.openapi = lambda: _describe(app)  # pyright: ignore[reportAttributeAccessIssue]
    return app


def open_control(settings: Settings, launcher: Launcher | None = None) -> Control:
    """Open the database, with all that runs turns; `at_work` starts and closes it."""
    engine = open_engine(settings.control_database_url)
    migrate(engine)
    create_tables(engine)
    platform = PlatformClient(settings.platform_url)
    gateway = Gateway(engine, settings, platform, CallLog(engine), is_running=is_running)
    dispatcher = Dispatcher(engine, settings, launcher or choose_launcher(settings))
    channels = open_channels(settings)
    set_channels(engine, list(channels))
    deliverer = Deliverer(engine, channels, settings.control_url)
    return Control(settings, engine, gateway, dispatcher, platform, Feeds(engine), deliverer)


@asynccontextmanager
async def at_work(control: Control) -> AsyncGenerator[None]:
    """Run turns, and look after what they started, until it is left."""
    tasks = [
        asyncio.create_task(Reaper(control.gateway).run(), name="reaper"),
        asyncio.create_task(sweep_daily(control.engine, control.settings), name="sweeper"),
        asyncio.create_task(control.deliverer.run(), name="deliverer"),
    ]
    await control.dispatcher.start(build_turn_app(control))
    try:
        yield
    finally:
        await control.dispatcher.close()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        control.gateway.close()
        await control.platform.aclose()
        control.engine.dispose()


def build_turn_app(control: Control) -> FastAPI:
    """What the runner of a turn reaches through its socket: the Turn API and the gateway."""
    app = _new_app(control, openapi_url=None)
    app.include_router(turn_api.router)
    app.include_router(evaluations.router)
    app.include_router(front.runner_router)
    return app


def _new_app(control: Control, **options: Any) -> FastAPI:
    app = FastAPI(title="Pilotlight Agent API", version=__version__, docs_url=None, redoc_url=None, **options)
    app.state.control = control
    app.router.redirect_slashes = False
    add_error_handlers(app)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncGenerator[None]:
    async with at_work(app.state.control):
        yield


def _check_health() -> dict[str, str]:
    return {"status": "ok"}


def _describe(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document; invalid requests get 400, so the 422 that FastAPI assumes is left out."""
    if app.openapi_schema is None:
        document = get_openapi(title=app.title, version=app.version, routes=app.routes)
        for path in document["paths"].values():
            for operation in path.values():
                operation["responses"].pop("422", None)
        document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"key": []}]
        app.openapi_schema = document
    return app.openapi_schema
