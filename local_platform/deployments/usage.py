"""Replica time into usage rows: daily buckets per group, in the shape of `billingUsage` [P114-P118]. Pure, no I/O."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, time, timedelta, tzinfo
from typing import Any, NamedTuple

from pilotlight.clock import to_rfc3339

DEDICATED = "DEDICATED_DEPLOYMENT"
DIMENSIONS = ("deployment_name", "accelerator_type")


class Interval(NamedTuple):
    """One replica of one deployment was ready from `start` to `end`."""

    deployment: str
    accelerator_type: str
    start: datetime
    end: datetime


def dedicated_costs(
    intervals: Iterable[Interval],
    start: datetime,
    end: datetime,
    group_by: Sequence[str],
    zone: tzinfo,
) -> list[dict[str, Any]]:
    """Rows over [start, end), one per day of `zone` and group; seconds are strings. Days without use have no row."""
    sums: dict[tuple[datetime, datetime, tuple[str, ...]], float] = defaultdict(float)
    for interval in intervals:
        facts = {"deployment_name": interval.deployment, "accelerator_type": interval.accelerator_type}
        group = tuple(facts[dimension] for dimension in group_by)
        for day_start, day_end in _days(max(interval.start, start), min(interval.end, end), start, end, zone):
            overlap = min(interval.end, day_end) - max(interval.start, day_start)
            sums[day_start, day_end, group] += overlap.total_seconds()
    return [
        {
            "startTime": to_rfc3339(day_start),
            "endTime": to_rfc3339(day_end),
            "acceleratorSeconds": f"{seconds:.3f}",
            "usageType": DEDICATED,
            "placement": "GLOBAL",
            "group": dict(zip(group_by, group, strict=True)),
        }
        for (day_start, day_end, group), seconds in sorted(sums.items())
    ]


def _days(
    first: datetime, last: datetime, start: datetime, end: datetime, zone: tzinfo
) -> Iterator[tuple[datetime, datetime]]:
    """Calendar days of `zone` that [first, last) touches, clipped to the asked range."""
    day = first.astimezone(zone).date()
    while first < last:
        # In UTC, because differences of two times in one zone ignore its change to summer time.
        midnight = datetime.combine(day, time(), zone).astimezone(UTC)
        day += timedelta(days=1)
        next_midnight = datetime.combine(day, time(), zone).astimezone(UTC)
        yield max(midnight, start), min(next_midnight, end)
        first = next_midnight
