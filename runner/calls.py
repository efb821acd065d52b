"""One request to the platform, as data: planned as a grant, sent as a call, so that the two cannot differ."""

from decimal import Decimal
from typing import Any, NamedTuple

from pilotlight.plan import Gate, GrantSpec, Phase, Rule


class Call(NamedTuple):
    """A request: `step` names the effect within the session, `method` is the RPC of pilot.yaml."""

    step: str
    method: str
    verb: str
    path: str
    query: dict[str, str]
    body: dict[str, Any]


def external_id(session: str, step: str) -> str:
    """The ID of what a step creates: derived, so that a create whose answer was lost is found again."""
    return f"ft-{session}-{step}"


def rules_of(calls: list[Call]) -> dict[str, Rule]:
    """The closed rules that allow exactly these calls: per field one value, or one of the values that occur."""
    fields: dict[str, list[Any]] = {}
    for call in calls:
        sent = {f"query.{key}": value for key, value in call.query.items()}
        sent |= {f"body.{key}": value for key, value in call.body.items()}
        for name, value in sent.items():
            options = fields.setdefault(name, [])
            if value not in options:
                options.append(value)
    return {
        name: Rule.exactly(options[0]) if len(options) == 1 else Rule(one_of=options)
        for name, options in fields.items()
    }


def grant_of(calls: list[Call], gate: Gate, phase: Phase, text: str, max_cost: Decimal, **bounds: Any) -> GrantSpec:
    """A grant for one of these alternative calls (`max_calls` defaults to 1). They share step and method."""
    return GrantSpec(
        id=calls[0].step,
        gate=gate,
        method=calls[0].method,
        rules=rules_of(calls),
        max_calls=bounds.pop("max_calls", 1),
        max_cost=max_cost,
        phase=phase,
        text=text,
        **bounds,
    )
