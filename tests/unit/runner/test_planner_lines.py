"""What the preview says of the planner's own model."""

from decimal import Decimal

from pilotlight.plan import Cost
from runner.planning.allowance import planner_lines


def test_the_allowance_is_a_line_of_its_kind_and_adds_nothing() -> None:
    used = {"grant": "allowance", "phase": "plan", "actual": "0.0021", "high": "0.250000", "reserved": "0"}
    cost = Cost(lines=planner_lines({"lines": [used, used | {"grant": "c1"}]}), price_source="test")
    assert [(line.kind, line.phase) for line in cost.lines] == [("planner", "plan")]
    assert "$0.0021 of its allowance of $0.25" in cost.lines[0].text
    assert (cost.total("high"), cost.by("kind")) == (0, {"planner": Decimal(0)})


def test_without_an_allowance_there_is_no_line() -> None:
    assert planner_lines({}) == planner_lines({"lines": [{"grant": "c1"}]}) == []
