"""The record of estimates against actuals."""

from typing import Annotated, Any

from fastapi import APIRouter, Query

from agent import estimates
from agent.context import CallerDep, ControlDep
from agent.failures import ERRORS
from agent.wire import EstimatePage
from pilotlight.listing import ListParams

router = APIRouter(prefix="/v1/accounts/{account}/estimates", responses=ERRORS, tags=["estimates"])


@router.get("", response_model=EstimatePage)
def list_(
    control: ControlDep,
    caller: CallerDep,
    page_size: Annotated[int, Query(alias="pageSize", ge=0)] = 0,
    page_token: Annotated[str, Query(alias="pageToken")] = "",
    filter: str = "",
    order_by: Annotated[str, Query(alias="orderBy")] = "",
) -> dict[str, Any]:
    """One row per phase of each approved plan, and one `total`."""
    params = ListParams(min(page_size, 200) or 50, page_token, filter, order_by)
    return estimates.list_estimates(control.engine, caller.account, params)
