"""The catalogue account; everything else of accounts, users and keys is the shared identity code."""

from typing import Any

from fastapi import APIRouter

from local_platform.auth import AnyCallerDep
from pilotlight.names import CATALOGUE_ACCOUNT

router = APIRouter(tags=["identity"])


@router.get(f"/v1/accounts/{CATALOGUE_ACCOUNT}")
def get_catalogue_account(caller: AnyCallerDep) -> dict[str, Any]:
    """The public account that holds base models and shapes [P6]."""
    return {"name": f"accounts/{CATALOGUE_ACCOUNT}", "displayName": "Catalogue", "email": "", "state": "READY"}
