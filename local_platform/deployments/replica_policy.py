"""How many replicas a deployment should have now, and whether it should still exist. Pure, no I/O [P75, P76]."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

IDLE_LIFETIME = timedelta(days=7)
"""A deployment that may scale to zero is deleted after this long without traffic [P76]."""


@dataclass(frozen=True, slots=True)
class Load:
    """What the policy looks at."""

    desired: int
    minimum: int
    maximum: int
    last_request: datetime
    """Or the last time somebody asked for replicas, or the creation."""
    to_zero_window: timedelta
    expires: datetime | None


def wanted_replicas(load: Load, now: datetime) -> int:
    """The desired count, within its bounds; down to the minimum when idle for the window. Up only by a request."""
    idle = now - load.last_request >= load.to_zero_window
    return min(max(0 if idle else load.desired, load.minimum), load.maximum)


def end_of_life(load: Load, now: datetime) -> Literal["expired", "idle"] | None:
    """Why the deployment must be deleted now, if it must."""
    if load.expires and now >= load.expires:
        return "expired"
    if load.minimum == 0 and now - load.last_request >= IDLE_LIFETIME:
        return "idle"
    return None
