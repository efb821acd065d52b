"""The ASGI application of the local platform: routers, errors, and what starts and stops with it."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from local_platform import accounts, datasets, signed
from local_platform.context import Platform, open_platform
from local_platform.dataset_files import clean_uploads
from local_platform.errors import install_error_handlers
from pilotlight import __version__
from pilotlight.identity import identity_router
from pilotlight.settings import Settings


def build_app(settings: Settings) -> FastAPI:
    """Open the state and assemble the application. Custom verbs (`:upload`) come before `/{id}` in their routers."""
    platform = open_platform(settings)
    clean_uploads(platform)
    app = FastAPI(title="Pilotlight local platform", version=__version__, lifespan=_live, redoc_url=None)
    app.state.platform = platform
    install_error_handlers(app)
    app.get("/healthz", tags=["health"])(report_health)
    app.include_router(accounts.router)
    app.include_router(identity_router(platform.engine))
    app.include_router(datasets.router)
    app.include_router(signed.router)
    return app


async def report_health() -> dict[str, str]:
    """Alive; without authentication."""
    return {"status": "ok"}


@asynccontextmanager
async def _live(app: FastAPI) -> AsyncGenerator[None]:
    platform: Platform = app.state.platform
    # Workers start here and stop in reverse order after the yield.
    yield
    platform.engine.dispose()
