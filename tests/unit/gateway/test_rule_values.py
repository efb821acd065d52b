"""What a rule takes for the approved value: JSON equality, types included."""

from typing import Any

import pytest

from pilotlight.plan import Rule


@pytest.mark.parametrize(
    ("rule", "value", "allowed"),
    [
        (Rule.exactly(1), 1, True),
        (Rule.exactly(1), True, False),
        (Rule.exactly(True), 1, False),
        (Rule.exactly(0), False, False),
        (Rule.exactly({"a": 1}), {"a": True}, False),
        (Rule(one_of=[1, 2]), True, False),
        (Rule(minimum=0, maximum=2), True, False),
        (Rule(minimum=0, maximum=2), 2, True),
        (Rule(minimum=0, maximum=2), 2.1, False),
        (Rule(max_bytes=3), "a", True),
        (Rule(max_bytes=3), "ab", False),
    ],
)
def test_true_is_not_one_and_bounds_are_bounds(rule: Rule, value: Any, allowed: bool) -> None:
    assert rule.allows(value) is allowed
