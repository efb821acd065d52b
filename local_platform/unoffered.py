"""Documented parts of the control plane that this platform does not offer: 501 with the reason, not a bare 404."""

from typing import Any

from fastapi import APIRouter, Request

from local_platform.auth import AnyCallerDep
from pilotlight.errors import Unimplemented

UNOFFERED = {
    "batchInferenceJobs": "batch inference; send the rows to a deployment instead",
    "quotas": "quotas; one machine has none to manage",
    "reinforcementFineTuningJobs": "reinforcement fine-tuning",
    "rlorTrainerJobs": "trainer jobs",
    "routers": "routers",
    "secrets": "secrets",
}
"""Collection -> what it would be."""
_METHODS = ["GET", "POST", "PATCH", "PUT", "DELETE"]


def unoffered_router() -> APIRouter:
    """Routes for every unoffered collection; include it last."""
    router = APIRouter(include_in_schema=False)
    for collection in UNOFFERED:
        base = f"/v1/accounts/{{account}}/{collection}"
        for path in (base, base + ":{verb}", base + "/{rest:path}"):
            router.add_api_route(path, _refuse(collection), methods=_METHODS)
    return router


def _refuse(collection: str) -> Any:
    def refuse(request: Request, caller: AnyCallerDep) -> None:
        raise Unimplemented(f"The local platform does not offer {UNOFFERED[collection]}.")

    return refuse
