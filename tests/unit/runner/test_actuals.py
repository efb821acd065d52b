"""The report says what is left running, and what it can still cost."""

from decimal import Decimal
from typing import Any

import prompts
from tests.fixtures.plans import plan_of

RUNNING = {
    "resource": "accounts/acme/deployments/d",
    "usdPerHour": "0.200000",
    "until": "2026-11-26T10:00:00.000000Z",
    "mayStillCost": "1.750000",
}


def actuals(running: list[dict[str, Any]]) -> str:
    cost = {"soFar": Decimal("0.10")}
    return prompts.render("actuals.md.j2", plan=plan_of([], "s"), actual={}, cost=cost, running=running)


def test_what_is_left_running_is_named_with_its_end_and_its_most() -> None:
    line = next(line for line in actuals([RUNNING]).splitlines() if "deployments/d" in line)
    assert "$0.2000 per hour while it is awake" in line
    assert "ends 2026-11-26 10:00 UTC at the latest" in line
    assert "at most $1.75 more" in line


def test_nothing_left_is_said_too() -> None:
    assert "nothing more is being spent" in actuals([])
