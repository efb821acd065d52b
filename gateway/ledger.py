"""Reserve, settle, release: the only writers of money. One conditional UPDATE decides, so that racing calls cannot
add up to more than was approved; every function runs inside the caller's transaction."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, text

from gateway.rules import Grant, Worst, check_rules, prices_of, worst_case
from gateway.statements import change, fetch, savepoint
from gateway.uncovered import Uncovered
from manifest.facts import Call
from pilotlight.clock import now, to_rfc3339
from pilotlight.crashpoints import Point, reach
from pilotlight.plan import Rule
from pilotlight.pricebook import PriceBook

_ACTIVE = text(
    f"SELECT {', '.join(Grant._fields)} FROM gateway_grants"
    " WHERE session = :session AND method = :method AND revoke_time IS NULL ORDER BY id"
)
_TAKE = text(
    "UPDATE gateway_grants SET calls = calls + 1, reserved_micros = reserved_micros + :amount"
    " WHERE id = :id AND revoke_time IS NULL AND expire_time > :now AND calls < max_calls"
    " AND reserved_micros + settled_micros + :amount <= max_cost_micros"
)
_HOLD = text(
    "UPDATE gateway_limits SET held_micros = held_micros + :amount"
    " WHERE session = :session AND (limit_micros IS NULL OR held_micros + :amount <= limit_micros)"
    " AND (key_limit_micros IS NULL OR held_micros + :amount <= key_limit_micros)"
    " RETURNING key_month"
)
_HOLD_MONTH = text(
    "UPDATE identity_key_month SET held_micros = held_micros + :amount"
    " WHERE id = :month AND (limit_micros IS NULL OR held_micros + :amount <= limit_micros)"
)
_LIMITS = text("SELECT limit_micros, key_limit_micros, held_micros FROM gateway_limits WHERE session = :session")
_UNTAKE = text("UPDATE gateway_grants SET calls = calls - 1 WHERE id = :id AND calls > 0")
_INSERT = text(
    "INSERT INTO gateway_reservations (grant_id, session, account, method, billing, resource, amount_micros,"
    " accrued_micros, hour_micros, replicas, state, confirmed, reason, create_time, until)"
    " VALUES (:grant_id, :session, :account, :method, :billing, :resource, :amount, 0, :hour, :replicas, 'active', :no,"
    " '', :now, :until) RETURNING id"
)
_CLOSE = text(
    "UPDATE gateway_reservations SET state = :state, accrued_micros = :actual, reason = :reason, settle_time = :now"
    " WHERE id = :id AND state = 'active' RETURNING grant_id, session, amount_micros"
)
_SETTLE_GRANT = text(
    "UPDATE gateway_grants SET reserved_micros = reserved_micros - :amount, settled_micros = settled_micros + :actual"
    " WHERE id = :id"
)
_SETTLE_LIMIT = text(
    "UPDATE gateway_limits SET held_micros = held_micros + :change WHERE session = :session RETURNING key_month"
)
_SETTLE_MONTH = text("UPDATE identity_key_month SET held_micros = held_micros + :change WHERE id = :month")
_ACCRUE = text("UPDATE gateway_reservations SET accrued_micros = :actual WHERE id = :id AND state = 'active'")
_HELD = text("SELECT grant_id, amount_micros FROM gateway_reservations WHERE id = :id AND state = 'active'")
_END = text("UPDATE gateway_grants SET revoke_time = :now WHERE id = :id AND revoke_time IS NULL")
_CONFIRM = text("UPDATE gateway_reservations SET confirmed = :yes, resource = :resource WHERE id = :id")
_REVIVE = text(
    "UPDATE gateway_reservations SET state = 'active', accrued_micros = 0, reason = '', settle_time = NULL"
    " WHERE id = :id AND state = 'released' RETURNING grant_id, session, amount_micros"
)
_RETAKE = text(
    "UPDATE gateway_grants SET calls = calls + 1, reserved_micros = reserved_micros + :amount WHERE id = :id"
)
_TOUCH = text("UPDATE gateway_reservations SET touch_time = :now WHERE id = :id")


@dataclass(frozen=True)
class Held:
    """What a call holds: `reservation` is None for calls that are counted but cost nothing by themselves."""

    grant: str
    micros: int
    reservation: int | None


def reserve(
    db: Connection, session: str, account: str, call: Call, billing: str, resource: str, prices: PriceBook
) -> Held:
    """Reserve the worst case of a call under the first grant that covers it and has room.

    Raises Uncovered: there is no grant, none covers the call's fields, or what covers them is used up.
    """
    method = call.route.method
    rows = fetch(db, _ACTIVE, {"session": session, "method": method})
    problem = Uncovered("spend.no-grant", "no approved plan of this session permits it")
    for row in rows:
        grant = Grant(*row)
        try:
            check_rules(_rules_of(grant.rules), call)
            worst = worst_case(grant, billing, call, prices_of(grant, prices))
            return _take(db, grant, worst, account, billing, resource)
        except Uncovered as uncovered:
            problem = uncovered
    raise problem


def settle(db: Connection, reservation: int, actual: int, reason: str = "") -> bool:
    """Turn a reservation into its actual cost (micro-dollars). False: it was not active any more."""
    return _close(db, reservation, "settled", actual, reason)


def release(db: Connection, held: Held) -> None:
    """Give everything back: the call certainly did not happen."""
    if held.reservation is None or _close(db, held.reservation, "released", 0, "the call was refused upstream"):
        db.execute(_UNTAKE, {"id": held.grant})


def accrue(db: Connection, reservation: int, actual: int) -> None:
    """Note what a running thing has cost so far."""
    db.execute(_ACCRUE, {"id": reservation, "actual": actual})


def confirm(db: Connection, reservation: int, resource: str) -> None:
    """The platform said that `resource` exists. What was given back in the belief that it does not is held again.

    Above the limits, if need be: it costs money whatever they say, and only what is held is ended in time.
    """
    row = db.execute(_REVIVE, {"id": reservation}).first()
    if row is not None:
        db.execute(_RETAKE, {"id": row.grant_id, "amount": row.amount_micros})
        _change_limits(db, row.session, row.amount_micros)
    db.execute(_CONFIRM, {"id": reservation, "resource": resource, "yes": True})


def touch(db: Connection, reservations: Iterable[int]) -> None:
    """Say that these calls are still under way in this process: nobody else concludes them."""
    for reservation in reservations:
        change(db, _TOUCH, {"id": reservation, "now": to_rfc3339(now())})


@lru_cache(256)
def _rules_of(text: str) -> dict[str, Rule]:
    return {name: Rule.model_validate(value) for name, value in json.loads(text).items()}


def end_grant(db: Connection, grant: str) -> None:
    """No further call is reserved under this grant; what is reserved already keeps its reservation."""
    db.execute(_END, {"id": grant, "now": to_rfc3339(now())})


def _take(db: Connection, grant: Grant, worst: Worst, account: str, billing: str, resource: str) -> Held:
    moment = now()
    values = {"id": grant.id, "amount": worst.micros, "now": to_rfc3339(moment), "session": grant.session}
    if billing == "call" and worst.micros == 0:  # counted only: nothing is held, so no limit is touched
        _count(db, grant, worst, values)
        return Held(grant.id, 0, None)
    # both counters or neither: a savepoint, since the caller still records the refusal in this transaction
    with savepoint(db):
        _count(db, grant, worst, values)
        _hold(db, values)
        row = values | {"grant_id": grant.id, "account": account, "method": grant.method, "billing": billing}
        until = to_rfc3339(moment + timedelta(hours=worst.hours)) if worst.hours is not None else None
        row |= {
            "resource": resource,
            "hour": worst.hour_micros,
            "until": until,
            "no": False,
            "replicas": worst.replicas,
        }
        return Held(grant.id, worst.micros, fetch(db, _INSERT, row)[0][0])


def _count(db: Connection, grant: Grant, worst: Worst, values: dict[str, Any]) -> None:
    if change(db, _TAKE, values) != 1:
        raise Uncovered(*_why_not(grant, worst, values["now"]))


def _hold(db: Connection, values: dict[str, Any]) -> None:
    """Add to what the session holds, and to what its key's month holds. Raises Uncovered at any of the limits."""
    held = fetch(db, _HOLD, values)
    if not held:
        raise Uncovered(*_why_not_held(db, values))
    month = held[0][0]
    if month is None or not values["amount"]:
        return
    if change(db, _HOLD_MONTH, {"amount": values["amount"], "month": month}) != 1:
        raise Uncovered(
            "spend.key-month",
            "the API key that started this session has reached its monthly spend limit; wait for the next month (UTC), "
            "or ask an admin for a key with another limit and start a new session with it",
        )


def _why_not_held(db: Connection, values: dict[str, Any]) -> tuple[str, str]:
    row = db.execute(_LIMITS, values).first()
    amount = values["amount"]
    if row is None or (row.limit_micros is not None and row.held_micros + amount > row.limit_micros):
        return "spend.limit", "the session's spend limit is reached"
    return (
        "spend.key-session",
        "the API key that started this session has reached its spend limit for one session; ask an admin for a key "
        "with another limit and start a new session with it",
    )


def _why_not(grant: Grant, worst: Worst, moment: str) -> tuple[str, str]:
    if grant.expire_time <= moment:
        return "spend.expired", f"the approval of {grant.text!r} has expired"
    if grant.calls >= grant.max_calls:
        return "spend.exhausted", f"{grant.text!r} was approved for {grant.max_calls} calls, and all are used"
    left = grant.max_cost_micros - grant.reserved_micros - grant.settled_micros
    return "spend.exhausted", f"{grant.text!r} has {left} micro-dollars left, and this call may cost {worst.micros}"


def _close(db: Connection, reservation: int, state: str, actual: int, reason: str) -> bool:
    values = {"id": reservation, "state": state, "actual": actual, "reason": reason, "now": to_rfc3339(now())}
    row = db.execute(_CLOSE, values).first()
    if row is None:
        return False
    db.execute(_SETTLE_GRANT, {"id": row.grant_id, "amount": row.amount_micros, "actual": actual})
    _change_limits(db, row.session, actual - row.amount_micros)
    reach(Point.CONTROL_SETTLE_WRITTEN)
    return True


def _change_limits(db: Connection, session: str, micros: int) -> None:
    difference = {"session": session, "change": micros}
    limit = db.execute(_SETTLE_LIMIT, difference).first()
    if limit is not None and limit.key_month is not None:
        db.execute(_SETTLE_MONTH, difference | {"month": limit.key_month})


def held_by(db: Connection, reservation: int) -> Held | None:
    """What an active reservation holds; None when it was settled."""
    row = db.execute(_HELD, {"id": reservation}).first()
    return Held(row.grant_id, row.amount_micros, reservation) if row else None
