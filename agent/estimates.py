"""Estimate against actual: recorded when a run ends, and what it teaches the next estimate."""

import json
from decimal import Decimal
from typing import Any, NamedTuple

from sqlalchemy import Engine
from sqlmodel import Session, col, select

from agent import spending
from agent.store import reading, writing
from agent.tables import EstimateRow, EventRow, PlanRow, SessionRow
from agent.wire import EstimateView, RatioView
from pilotlight.clock import now, parse_rfc3339, to_rfc3339
from pilotlight.listing import ListParams, list_page
from pilotlight.money import from_micros, to_micros
from pilotlight.plan import Phase, Plan

TOTAL = "total"
FIELDS = frozenset({"session", "planHash", "phase", "workflow", "baseModel", "outcome", "createTime", "actualUsd"})
_SHARES = (0.1, 0.9)
_BOUNDED = (0.2, 5.0)
"""A few odd runs must not bend the next range beyond reason."""


def record_run(db: Session, row: SessionRow, outcome: str) -> None:
    """Write one row per phase of the approved plan and one for the whole; again is harmless (follow-up turns)."""
    stored = db.get(PlanRow, (row.id, row.plan_hash)) if row.plan_hash else None
    if stored is None or stored.approved_by is None:
        return
    plan = Plan.model_validate_json(stored.document)
    seconds = _phase_seconds(db, row.id)
    for phase in [*_phases(plan), TOTAL]:
        used = _use_of(db, plan, row.id, phase)
        db.merge(_make_row(row, stored.plan_hash, plan, phase, outcome, used, seconds))
    db.flush()


def refresh(db: Session, account: str) -> None:
    """Bring rows up to date whose cost was not settled when their run ended (a deployment still serving)."""
    query = select(EstimateRow).where(EstimateRow.account == account, col(EstimateRow.settled).is_(False))
    for row in db.exec(query).all():
        stored = db.get(PlanRow, (row.session_id, row.plan_hash))
        if stored is None:  # the session was deleted: what was known stays
            row.settled = True
        else:
            used = _use_of(db, Plan.model_validate_json(stored.document), row.session_id, row.phase)
            row.actual_micros, row.settled = to_micros(used.actual), used.settled
        db.add(row)
    db.flush()


def list_estimates(engine: Engine, account: str, params: ListParams) -> dict[str, Any]:
    """A page of the account's record, newest first unless ordered otherwise, and the ratio it implies."""
    with writing(engine) as db:
        refresh(db, account)
    if not params.order_by:
        params = params._replace(order_by="createTime desc")
    with reading(engine) as db:
        rows = db.exec(select(EstimateRow).where(EstimateRow.account == account)).all()
        page = list_page((_show(row) for row in rows), params, "estimates", FIELDS)
    return {**page, "ratio": ratio_of(list(rows)).model_dump(mode="json", by_alias=True)}


def read_ratio(db: Session, account: str) -> RatioView:
    """Actual over expected of the account's runs so far. Writes what has been settled since the last look."""
    refresh(db, account)
    return ratio_of(list(db.exec(select(EstimateRow).where(EstimateRow.account == account)).all()))


def ratio_of(rows: list[EstimateRow]) -> RatioView:
    """Percentiles over runs that succeeded, of their phases whose cost is settled.

    Deployment is left out: its line is the price of a first hour, while what is served is the user's choice.
    """
    runs: dict[tuple[str, str], list[int]] = {}
    for row in rows:
        if row.outcome == "succeeded" and row.settled and row.phase not in (TOTAL, Phase.DEPLOY.value):
            sums = runs.setdefault((row.session_id, row.plan_hash), [0, 0])
            sums[0] += row.actual_micros
            sums[1] += row.expected_micros
    ratios = sorted(actual / expected for actual, expected in runs.values() if expected and actual)
    if not ratios:
        return RatioView(low=None, high=None, runs=0)
    low, high = (min(max(_percentile(ratios, share), _BOUNDED[0]), _BOUNDED[1]) for share in _SHARES)
    return RatioView(low=low, high=high, runs=len(ratios))


def _make_row(
    row: SessionRow,
    plan_hash: str,
    plan: Plan,
    phase: str,
    outcome: str,
    used: "_Use",
    seconds: dict[str, float],
) -> EstimateRow:
    lines = [line for line in plan.cost.lines if phase in (TOTAL, line.phase.value)]
    known = [line.seconds for line in lines if line.seconds is not None]
    return EstimateRow(
        session_id=row.id,
        plan_hash=plan_hash,
        phase=phase,
        account=row.account,
        workflow=plan.workflow,
        base_model=", ".join(plan.base_models),
        outcome=outcome,
        low_micros=to_micros(sum((line.low for line in lines), Decimal(0))),
        expected_micros=to_micros(sum((line.expected for line in lines), Decimal(0))),
        high_micros=to_micros(sum((line.high for line in lines), Decimal(0))),
        actual_micros=to_micros(used.actual),
        estimated_seconds=plan.cost.wall_seconds if phase == TOTAL else (sum(known) if known else None),
        actual_seconds=sum(seconds.values()) if phase == TOTAL else seconds.get(phase),
        settled=used.settled,
        time=to_rfc3339(now()),
    )


class _Use(NamedTuple):
    """What a phase has used; settled when nothing of it is held any more."""

    actual: Decimal
    settled: bool


def _use_of(db: Session, plan: Plan, session_id: str, phase: str) -> _Use:
    """What the grants of this plan have used in a phase, or in all."""
    grants = {grant.id for grant in plan.grants if phase in (TOTAL, grant.phase.value)}
    lines = [line for line in spending.read_cost(db, session_id).lines if line.grant in grants]
    return _Use(sum((line.actual for line in lines), Decimal(0)), all(line.reserved == 0 for line in lines))


def _phases(plan: Plan) -> list[str]:
    return list(dict.fromkeys(line.phase.value for line in plan.cost.lines))


def _phase_seconds(db: Session, session_id: str) -> dict[str, float]:
    """Wall seconds between the last `started` and `completed` of each phase. Pauses for the user are not inside one."""
    query = select(EventRow).where(EventRow.session_id == session_id, EventRow.type == "phase")
    started: dict[str, str] = {}
    seconds: dict[str, float] = {}
    for event in db.exec(query.order_by(col(EventRow.seq))).all():
        payload = json.loads(event.payload)
        phase, state = str(payload.get("phase")), payload.get("state")
        if state == "started":
            started[phase] = event.time
        elif state == "completed" and phase in started:
            seconds[phase] = (parse_rfc3339(event.time) - parse_rfc3339(started[phase])).total_seconds()
    return {phase: value for phase, value in seconds.items() if phase not in (Phase.PLAN.value, Phase.INSPECT.value)}


def _percentile(ordered: list[float], share: float) -> float:
    position = share * (len(ordered) - 1)
    lower = int(position)
    upper = min(lower + 1, len(ordered) - 1)
    return ordered[lower] + (ordered[upper] - ordered[lower]) * (position - lower)


def _show(row: EstimateRow) -> dict[str, Any]:
    view = EstimateView(
        session=f"accounts/{row.account}/sessions/{row.session_id}",
        plan_hash=row.plan_hash,
        phase=row.phase,
        workflow=row.workflow,
        base_model=row.base_model,
        outcome=row.outcome,
        settled=row.settled,
        low_usd=from_micros(row.low_micros),
        expected_usd=from_micros(row.expected_micros),
        high_usd=from_micros(row.high_micros),
        actual_usd=from_micros(row.actual_micros),
        estimated_seconds=row.estimated_seconds,
        actual_seconds=row.actual_seconds,
        create_time=row.time,
    )
    return view.model_dump(mode="json", by_alias=True)
