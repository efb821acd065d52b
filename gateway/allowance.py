"""The small fixed allowance for the planner's own model calls before the first plan [DESIGN 6, 7].

It is a grant like any other, but its approver is a setting. The first approved plan takes its place.
"""

import json
from datetime import timedelta
from decimal import Decimal

from sqlmodel import Session

from gateway import audit
from gateway.planner_request import METHOD
from gateway.tables import GrantRow, LimitRow
from pilotlight.clock import now, to_rfc3339
from pilotlight.money import from_micros, to_micros
from pilotlight.plan import Phase, Rule
from pilotlight.settings import Settings
from pilotlight.wire import Wire

GATE = "allowance"
_LIFETIME = timedelta(days=30)
_MAX_CALLS = 1000
_MAX_BYTES = 1 << 20


class Allowance(Wire):
    """Dollars of the planner's allowance. `open`: calls may still be made under it."""

    limit_usd: Decimal
    spent_usd: Decimal
    reserved_usd: Decimal
    calls: int
    models: list[str]
    open: bool


def write_allowance(db: Session, session: str, settings: Settings, limit: Decimal | None = None) -> None:
    """Give a new session its allowance, never more than its own spend limit. None when no model is configured."""
    if not settings.planner_models:
        return
    amount = settings.planner_allowance_usd if limit is None else min(limit, settings.planner_allowance_usd)
    row = _new_row(session, settings, to_micros(amount))
    db.add(db.get(LimitRow, session) or LimitRow(session=session))
    db.add(row)
    db.flush()
    audit.append(
        db.connection(),
        principal="setting",
        method="",
        resource=session,
        verdict="approved",
        rule="grants",
        detail={"plan": "", "gate": GATE, "grants": [row.spec], "micros": str(row.max_cost_micros)},
    )


def read_allowance(db: Session, session: str) -> Allowance | None:
    """The session's allowance; None when it has none, because no model was configured when it was created."""
    row = db.get(GrantRow, _id(session))
    if row is None:
        return None
    return Allowance(
        limit_usd=from_micros(row.max_cost_micros),
        spent_usd=from_micros(row.settled_micros),
        reserved_usd=from_micros(row.reserved_micros),
        calls=row.calls,
        models=json.loads(row.rules)["body.model"]["one_of"],
        open=row.revoke_time is None and row.expire_time > to_rfc3339(now()) and row.max_cost_micros > 0,
    )


def _new_row(session: str, settings: Settings, micros: int) -> GrantRow:
    content = Rule(max_bytes=_MAX_BYTES)
    rules = {
        "body.model": Rule(one_of=list(settings.planner_models)),
        "body.max_tokens": Rule(minimum=1, maximum=settings.planner_max_tokens),
        "body.messages": content,
        "body.system": content,
        "body.tools": content,
    }
    moment = now()
    return GrantRow(
        id=_id(session),
        session=session,
        plan_hash=GATE,
        gate=GATE,
        spec=GATE,
        method=METHOD,
        rules=json.dumps({name: rule.model_dump(mode="json", exclude_defaults=True) for name, rule in rules.items()}),
        max_calls=_MAX_CALLS,
        max_cost_micros=micros,
        max_hours=None,
        phase=Phase.PLAN.value,
        text="the planner's own model before the first plan",
        approver="setting",
        create_time=to_rfc3339(moment),
        expire_time=to_rfc3339(moment + _LIFETIME),
    )


def _id(session: str) -> str:
    return f"{session}/{GATE}"
