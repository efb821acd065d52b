"""Grants: written by approvals, used up by calls, shown as cost. Nothing else creates a right to spend."""

import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from sqlalchemy import func
from sqlmodel import Session, col, select, update

from gateway import audit
from gateway.bounds import limit_row, refusal_above
from gateway.endings import Ended, list_ended
from gateway.tables import GrantRow, ReservationRow
from manifest.pilot import pilot_methods
from pilotlight.clock import as_utc, now, to_rfc3339
from pilotlight.errors import Aborted, FailedPrecondition, InvalidArgument, PilotlightError
from pilotlight.money import from_micros, to_micros
from pilotlight.plan import Gate, GrantSpec, Plan
from pilotlight.pricebook import PriceBook
from pilotlight.wire import Wire


class GrantLine(Wire):
    """What one grant has used, in dollars. `high` is its limit; `calls` counts against `max_calls`."""

    grant: str
    phase: str
    text: str
    reserved: Decimal
    actual: Decimal
    high: Decimal
    calls: int
    max_calls: int
    approver: str
    """E-mail of who approved it, or `autoApprove, set by <e-mail>`."""
    price_source: str
    """The price book that it is charged by: that of the approval."""
    expire_time: str


class Running(Wire):
    """Something that costs money now, and when it ends at the latest (RFC 3339; jobs end with their budget: empty)."""

    resource: str
    usd_per_hour: Decimal
    until: str
    may_still_cost: Decimal
    """Dollars on top of what it has cost so far, at most: there it is ended."""


class CostSummary(Wire):
    """Dollars of a session: spent (settled and accrued), still reserved on top, and approved in total."""

    so_far: Decimal
    reserved: Decimal
    approved: Decimal
    lines: list[GrantLine]
    running: list[Running]
    may_still_cost: Decimal = Decimal(0)
    """What all of `running` may cost on top, in total."""
    ended: list[Ended]


def set_limit(db: Session, session: str, limit: Decimal | None) -> None:
    """Set what a session may spend in total (its spendLimitUsd); None lifts it."""
    row = limit_row(db, session)
    row.limit_micros = None if limit is None else to_micros(limit)
    db.add(row)
    db.flush()


def write(
    db: Session,
    session: str,
    plan: Plan,
    gate: Gate,
    approver: str,
    *,
    prices: PriceBook | None = None,
    ceiling: int | None = None,
) -> list[str]:
    """Write the grants of one gate of an approved plan, in the transaction that stores the approval; returns their IDs.

    `prices` is the book of the approval, which the grants keep. `ceiling` (micro-dollars) bounds all that the session
    holds and may still use, these grants included. Writing the same gate again changes nothing. Grants of another plan
    of the session lose what they have left. Raises Aborted for a plan of another session, FailedPrecondition for an
    expired one or one above the session's limit, ResourceExhausted for one above the ceiling or a limit of its key.
    """
    if plan.session != session:
        raise Aborted(f"This plan belongs to session {plan.session!r}, not {session!r}.")
    if as_utc(plan.expires) <= now():
        raise FailedPrecondition("This plan has expired.", hint="Ask for a fresh plan.")
    digest = plan.digest()
    specs = [spec for spec in plan.grants if spec.gate == gate]
    _revoke(db, session, keep=digest)
    new = [spec for spec in specs if db.get(GrantRow, _id(session, digest, spec)) is None]
    rows = [_row(session, digest, plan, spec, approver, prices) for spec in new]
    if (error := refusal_of(db, session, plan, gate, ceiling)) is not None:
        raise error
    db.add_all(rows)
    db.flush()
    detail: dict[str, Any] = {"plan": digest, "gate": gate, "grants": [row.spec for row in rows]}
    detail |= {"ceiling": str(ceiling)} if ceiling is not None else {}
    _note(db, approver, "approved", session, detail)
    return [_id(session, digest, spec) for spec in specs]


def refusal_of(db: Session, session: str, plan: Plan, gate: Gate, ceiling: int | None = None) -> PilotlightError | None:
    """Why the grants of one gate may not be written now, None when they may. Locks what it looks at.

    What counts is all that the session holds, what is left of this plan's grants, and what the new ones add.
    """
    return refusal_above(db, session, _unused(db, session, plan, gate), ceiling)


def revoke(db: Session, session: str) -> int:
    """Take away what is left of all grants of a session; what already runs keeps its reservation. Returns how many."""
    count = _revoke(db, session, keep="")
    if count:
        _note(db, "", "revoked", session, {"grants": count})
    return count


def end_of(db: Session, session: str, resources: Sequence[str]) -> int:
    """Take away what is left of the grants that these resources of the session were created under. Returns how many.

    What they have cost, and what is still reserved until they are settled, stays.
    """
    reservations = select(ReservationRow.grant_id).where(
        col(ReservationRow.session) == session, col(ReservationRow.resource).in_(resources)
    )
    statement = (
        update(GrantRow)
        .where(
            col(GrantRow.session) == session, col(GrantRow.id).in_(reservations), col(GrantRow.revoke_time).is_(None)
        )
        .values(revoke_time=to_rfc3339(now()))
    )
    count = db.exec(statement).rowcount
    if count:
        _note(db, "", "revoked", session, {"grants": count, "resources": list(resources)})
    return count


def cost(db: Session, session: str) -> CostSummary:
    """What the session has spent, holds and may spend."""
    grants = db.exec(select(GrantRow).where(col(GrantRow.session) == session).order_by("create_time", "id")).all()
    active = db.exec(
        select(ReservationRow).where(col(ReservationRow.session) == session, col(ReservationRow.state) == "active")
    ).all()
    accrued = sum(min(row.accrued_micros, row.amount_micros) for row in active)
    return CostSummary(
        so_far=from_micros(sum(row.settled_micros for row in grants) + sum(row.accrued_micros for row in active)),
        reserved=from_micros(sum(row.reserved_micros for row in grants) - accrued),
        approved=from_micros(sum(_approved(row) for row in grants)),
        lines=[_line(row, active) for row in grants],
        running=[_running(row) for row in active if row.billing != "call"],
        may_still_cost=from_micros(sum(_open_micros(row) for row in active if row.billing != "call")),
        ended=list_ended(db, session),
    )


def _approved(row: GrantRow) -> int:
    return row.max_cost_micros if row.revoke_time is None else row.settled_micros + row.reserved_micros


def _line(row: GrantRow, active: Sequence[ReservationRow]) -> GrantLine:
    mine = [r for r in active if r.grant_id == row.id]
    accrued = sum(r.accrued_micros for r in mine)
    return GrantLine(
        grant=row.spec,
        phase=row.phase,
        text=row.text,
        reserved=from_micros(row.reserved_micros),
        actual=from_micros(row.settled_micros + accrued),
        high=from_micros(row.max_cost_micros),
        calls=row.calls,
        max_calls=row.max_calls,
        approver=row.approver,
        price_source=PriceBook.model_validate_json(row.prices).describe() if row.prices else "",
        expire_time=row.expire_time,
    )


def _running(row: ReservationRow) -> Running:
    return Running(
        resource=row.resource,
        usd_per_hour=from_micros((row.hour_micros or 0) * row.replicas),
        until=row.until or "",
        may_still_cost=from_micros(_open_micros(row)),
    )


def _open_micros(row: ReservationRow) -> int:
    return max(0, row.amount_micros - row.accrued_micros)


def _row(session: str, digest: str, plan: Plan, spec: GrantSpec, approver: str, prices: PriceBook | None) -> GrantRow:
    entry = pilot_methods().get(spec.method)
    if entry is None or entry.billing is None:
        raise InvalidArgument(f"{spec.method} is not a method that a grant can be for.")
    rules = {name: rule.model_dump(mode="json", exclude_defaults=True) for name, rule in spec.rules.items()}
    return GrantRow(
        id=_id(session, digest, spec),
        session=session,
        plan_hash=digest,
        gate=spec.gate,
        spec=spec.id,
        method=spec.method,
        rules=json.dumps(rules),
        max_calls=spec.max_calls,
        max_cost_micros=to_micros(spec.max_cost),
        max_hours=spec.max_hours,
        phase=spec.phase,
        text=spec.text,
        approver=approver,
        create_time=to_rfc3339(now()),
        expire_time=to_rfc3339(plan.expires),
        prices=prices.model_dump_json() if prices else "",
    )


def _id(session: str, digest: str, spec: GrantSpec) -> str:
    return f"{session}/{digest[:16]}/{spec.id}"


def _revoke(db: Session, session: str, *, keep: str) -> int:
    statement = (
        update(GrantRow)
        .where(col(GrantRow.session) == session, col(GrantRow.plan_hash) != keep, col(GrantRow.revoke_time).is_(None))
        .values(revoke_time=to_rfc3339(now()))
    )
    return db.exec(statement).rowcount


def _unused(db: Session, session: str, plan: Plan, gate: Gate) -> int:
    """What this plan's grants have left, plus what those of `gate` that are not written yet would add."""
    digest = plan.digest()
    left = col(GrantRow.max_cost_micros) - col(GrantRow.reserved_micros) - col(GrantRow.settled_micros)
    mine = (col(GrantRow.session) == session, col(GrantRow.plan_hash) == digest, col(GrantRow.revoke_time).is_(None))
    unused = db.exec(select(func.coalesce(func.sum(left), 0)).where(*mine)).one()
    specs = [spec for spec in plan.grants if spec.gate == gate]
    new = [spec for spec in specs if db.get(GrantRow, _id(session, digest, spec)) is None]
    return unused + sum(to_micros(spec.max_cost) for spec in new)


def _note(db: Session, principal: str, verdict: str, session: str, detail: dict[str, Any]) -> None:
    """Who gave or took a right to spend stands in the same chain as what was done with it."""
    audit.append(
        db.connection(),
        principal=principal,
        method="",
        resource=session,
        verdict=verdict,
        rule="grants",
        detail=detail,
    )
