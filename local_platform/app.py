"""The ASGI application of the local platform: routers, errors, and what starts and stops with it."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.concurrency import run_in_threadpool

from local_platform import accounts
from local_platform.auth import identify
from local_platform.context import Platform, open_platform
from local_platform.datasets import routes as datasets
from local_platform.deployments import adapters, billing
from local_platform.deployments import routes as deployments
from local_platform.errors import install_error_handlers
from local_platform.evaluations import routes as evaluations
from local_platform.evaluators import routes as evaluators
from local_platform.jobs import routes as jobs
from local_platform.jobs.launcher import Launcher
from local_platform.models import routes as models
from local_platform.models.imports import register_shipped
from local_platform.models.leftovers import settle_models
from local_platform.serving.manager import EngineFactory, load_local_engine
from local_platform.serving.routes import inference_router
from local_platform.speed import shapes
from local_platform.storage import signed
from local_platform.storage.uploads import clean_uploads
from local_platform.unoffered import unoffered_router
from local_platform.workers import Workers, open_workers
from pilotlight import __version__
from pilotlight.identity import identity_router
from pilotlight.settings import Settings


def build_app(
    settings: Settings, launcher: Launcher | None = None, engine: EngineFactory = load_local_engine
) -> FastAPI:
    """Open the state and assemble the application. Custom verbs (`:upload`) come before `/{id}` in their routers.

    `launcher` starts the trainers, as subprocesses when None; `engine` loads what answers requests.
    """
    platform = open_platform(settings)
    settle_models(platform)
    clean_uploads(platform)
    register_shipped(platform)
    app = FastAPI(title="Pilotlight local platform", version=__version__, lifespan=_live, redoc_url=None)
    workers = open_workers(platform, launcher, engine)
    app.state.platform, app.state.workers = platform, workers
    install_error_handlers(app)
    app.get("/healthz", tags=["health"])(report_health)
    app.include_router(accounts.router)
    app.include_router(identity_router(platform.engine))
    app.include_router(datasets.router)
    app.include_router(models.router)
    app.include_router(signed.router)
    for part in (jobs, evaluators, evaluations, deployments, adapters, shapes, billing):
        app.include_router(part.router)
    app.include_router(inference_router(workers.resolver, workers.engines, identify))
    app.include_router(unoffered_router())
    return app


async def report_health() -> dict[str, str]:
    """Alive; without authentication."""
    return {"status": "ok"}


@asynccontextmanager
async def _live(app: FastAPI) -> AsyncGenerator[None]:
    platform: Platform = app.state.platform
    workers: Workers = app.state.workers
    workers.start()
    if platform.settings.platform_calibrate:
        workers.calibrator.start()
    yield
    await run_in_threadpool(workers.stop)
    platform.engine.dispose()
