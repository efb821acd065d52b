"""The planner's own model in the preview: what it has cost under its allowance. It is spent, so it adds nothing."""

from decimal import Decimal
from typing import Any

from pilotlight.money import show, usd
from pilotlight.plan import CostLine, Phase

_GRANT = "allowance"


def planner_lines(cost: dict[str, Any]) -> list[CostLine]:
    """One line when the session has an allowance, none otherwise. `cost` is the session's, as the Turn API says it."""
    found = [line for line in cost.get("lines") or [] if line.get("grant") == _GRANT]
    return [_line(usd(str(line["actual"])), usd(str(line["high"]))) for line in found]


def _line(spent: Decimal, limit: Decimal) -> CostLine:
    zero = Decimal(0)
    text = f"the planner's own model before the first plan: {show(spent)} of its allowance of {show(limit)} so far"
    return CostLine(phase=Phase.PLAN, kind="planner", text=text, low=zero, expected=zero, high=zero, seconds=0.0)
