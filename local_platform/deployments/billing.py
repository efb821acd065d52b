"""`billingUsage`: how long replicas served, in quantities, never in dollars [P114-P118]."""

from datetime import datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from fastapi import APIRouter, Request

from local_platform.auth import CallerDep
from local_platform.context import PlatformDep
from local_platform.deployments.replicas import service_intervals
from local_platform.deployments.usage import DEDICATED, DIMENSIONS, Interval, dedicated_costs
from local_platform.resources import Json
from local_platform.workers import WorkersDep
from pilotlight.clock import parse_rfc3339
from pilotlight.errors import InvalidArgument

WINDOW = timedelta(days=31)
"""The longest range of one call [P108]."""
_YEARS = 2000, 3000
"""Times outside cannot be meant, and days around the ends of the calendar cannot be computed with."""
router = APIRouter(tags=["billing"])


@router.get("/v1/accounts/{account}/billingUsage")
def get_usage(account: str, request: Request, platform: PlatformDep, workers: WorkersDep, caller: CallerDep) -> Json:
    """Usage from startTime (inclusive) to endTime (exclusive), in daily rows per group.

    `usageType` SERVERLESS has no rows here: there are only dedicated deployments. `filter[<dimension>][values]` keeps
    rows of those values.
    """
    query = request.query_params
    start, end = _moment(query.get("startTime"), "startTime"), _moment(query.get("endTime"), "endTime")
    if not start < end <= start + WINDOW:
        raise InvalidArgument("endTime must lie after startTime, by at most 31 days.")
    kind, group_by = query.get("usageType", ""), query.getlist("groupBy")
    if kind not in ("", "SERVERLESS", DEDICATED):
        raise InvalidArgument(f"Unknown usageType {kind[:40]!r}.", hint=f"Use SERVERLESS or {DEDICATED}.")
    for dimension in group_by:
        _check_dimension(dimension)
    workers.autoscaler.note_service()
    with platform.reading() as db:
        intervals = _keep(service_intervals(db, account, start, end), request)
    rows = dedicated_costs(intervals, start, end, list(dict.fromkeys(group_by)), _zone(query.get("timezone", "UTC")))
    return {
        **({"serverlessCosts": []} if kind != DEDICATED else {}),
        **({"dedicatedCosts": rows} if kind != "SERVERLESS" else {}),
    }


def _keep(intervals: list[Interval], request: Request) -> list[Interval]:
    for key in request.query_params:
        if not key.startswith("filter["):
            continue
        dimension = key.removeprefix("filter[").removesuffix("][values]")
        _check_dimension(dimension)
        values, position = request.query_params.getlist(key), DIMENSIONS.index(dimension)
        intervals = [interval for interval in intervals if interval[position] in values]
    return intervals


def _check_dimension(dimension: str) -> None:
    if dimension not in DIMENSIONS:
        raise InvalidArgument(f"Unknown dimension {dimension[:60]!r}.", hint=f"Use {', '.join(DIMENSIONS)}.")


def _moment(text: str | None, field: str) -> datetime:
    if not text:
        raise InvalidArgument(f"Missing required parameter '{field}'.")
    wrong = InvalidArgument(f"Invalid {field} {text[:40]!r}.", hint="Write it as 2026-11-21T00:00:00Z.")
    try:
        moment = parse_rfc3339(text)
    except (ValueError, OverflowError):
        raise wrong from None
    if not _YEARS[0] <= moment.year < _YEARS[1]:
        raise wrong
    return moment


def _zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidArgument(f"Unknown timezone {name[:60]!r}.", hint="Use an IANA name such as UTC.") from None
