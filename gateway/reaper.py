"""Ends what reached its approved limit, and settles what has ended.

The manifest has nothing that cancels or deletes, so a session cannot stop its own spend: the gateway does, with a
principal of its own that no runner can be. It asks the platform only while something is reserved.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import ROUND_CEILING, Decimal
from typing import Any
from urllib.parse import urlencode

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from gateway import audit, leader, ledger
from gateway.endings import reason_of_cost, reason_of_time
from gateway.forwarding import Gateway
from gateway.principal import reaper_of
from gateway.record import RpcRecord
from gateway.tables import ReservationRow
from pilotlight.clock import now, parse_rfc3339, to_rfc3339
from pilotlight.crashpoints import Point, reach
from pilotlight.errors import PilotlightError, Unavailable
from pilotlight.money import from_micros

log = logging.getLogger(__name__)
TERMINAL = ("COMPLETED", "FAILED", "CANCELLED", "EARLY_STOPPED", "EXPIRED", "DELETED", "DELETING")
_ACTIVE = text("SELECT * FROM gateway_reservations WHERE state = 'active' ORDER BY id")
_REASON = text("UPDATE gateway_reservations SET reason = :reason WHERE id = :id AND reason = ''")
_FORGET = text("DELETE FROM gateway_effects WHERE reservation = :id AND state = 'pending'")
_GRACE = 10.0
"""Seconds before an unanswered create is looked for."""
_LEASES = 3
"""For how many intervals the one that looks is not replaced."""
_ANCHOR_SECONDS = 60.0
_UNREADABLE = (PilotlightError, ValueError, KeyError, TypeError, AttributeError)
"""What an answer leads to that is none, or JSON of another shape."""
_LEAD, _JOB_LEAD = 0.5, 3.0
"""Seconds before the limit at which a running thing is ended: stopping takes a moment, and that moment costs too.

A job saves its checkpoint first; but at most a quarter of what was approved is given up for it.
"""


class Reaper:
    """One per process, beside its Gateway; `run` is a background task. Of several on a database one looks."""

    def __init__(self, gateway: Gateway, interval: float = 2.0) -> None:
        self.gateway, self.interval = gateway, interval
        self.head_file = gateway.settings.home / "audit.head"
        self._name = secrets.token_hex(8)

    async def run(self) -> None:
        """Look again and again, until cancelled; once a minute export the audit's head, so that a cut-off end shows.

        No failure ends it, not even one that nobody thought of: nothing else ends what reaches its approved limit.
        """
        try:
            await self._look_for_ever()
        finally:
            await self.gateway.store.quick(lambda db: leader.resign(db, self._name))

    async def _look_for_ever(self) -> None:
        anchored = 0.0
        while True:
            try:
                pause = await self.step() if await self._leads() else self.interval
                if time.monotonic() - anchored > _ANCHOR_SECONDS or not anchored:
                    self.gateway.store.export_head(self.head_file)
                    anchored = time.monotonic()
            except (PilotlightError, SQLAlchemyError, OSError, ValueError, KeyError) as error:
                log.warning("the reaper could not look: %s", error)
                pause = self.interval
            except Exception:
                log.exception("The reaper failed by a defect of ours, and looks again.")
                pause = self.interval
            await asyncio.sleep(pause)

    async def _leads(self) -> bool:
        """Tell the others what is under way here, and find out who looks."""
        under_way = frozenset(self.gateway.in_flight)  # calls come and go while another thread writes this down

        def write(db: Any) -> bool:
            ledger.touch(db, under_way)
            return leader.lead(db, self._name, _LEASES * self.interval)

        return await self.gateway.store.quick(write)

    async def step(self) -> float:
        """Look once at every active reservation; returns the seconds until the next look is due."""
        rows = self.gateway.store.read(lambda db: [ReservationRow(**r) for r in db.execute(_ACTIVE).mappings()])
        seconds = await self._try_to_count([row for row in rows if row.billing == "deployment"])
        pauses = await asyncio.gather(*(self._try_to_look(row, seconds) for row in rows))
        return max(0.05, min([self.interval, *pauses]))

    async def _try_to_count(self, rows: list[ReservationRow]) -> dict[str, float] | None:
        try:
            return await self._replica_seconds(rows)
        except _UNREADABLE as error:
            log.warning("the platform does not say what deployments cost: %s", error)
            return None

    async def _try_to_look(self, row: ReservationRow, seconds: Mapping[str, float] | None) -> float:
        """What cannot be looked at now, or answers late, holds up the end of no other; its own limit still holds."""
        try:
            return await self._look(row, seconds)
        except _UNREADABLE as error:
            log.warning("%s: %s", row.resource, error)
        if row.confirmed and _seconds_left(row, row.accrued_micros) <= _lead(row):
            try:
                await self._end(row, row.accrued_micros)
            except PilotlightError as error:
                log.warning("%s could not be ended: %s", row.resource, error)
        return self.interval

    async def _look(self, row: ReservationRow, seconds: Mapping[str, float] | None) -> float:
        if row.id in self.gateway.in_flight:
            return self.interval
        if row.billing == "call":
            return await self._close_call(row)
        response = await self.gateway.platform.get(f"/v1/{row.resource}")
        if response.status_code not in (200, 404):
            raise Unavailable(f"The platform answered HTTP {response.status_code}.")
        found: dict[str, Any] | None = response.json() if response.status_code == 200 else None
        if not row.confirmed:
            return await self._find(row, found)
        state = str(found.get("state", "")).removeprefix("JOB_STATE_") if found is not None else "DELETED"
        spent = _spent_by_deployment(row, seconds) if row.billing == "deployment" else _spent_by_job(row, found, state)
        if state in TERMINAL:
            await self.gateway.store.durable(lambda db: ledger.settle(db, _id(row), spent, row.reason or state.lower()))
            reach(Point.CONTROL_SETTLE_COMMITTED)
            return self.interval
        if spent != row.accrued_micros:
            await self.gateway.store.quick(lambda db: ledger.accrue(db, _id(row), spent))
        left = _seconds_left(row, spent)
        lead = _lead(row)
        if left <= lead:
            await self._end(row, spent)
        return left - lead

    async def _close_call(self, row: ReservationRow) -> float:
        """A call whose sender died before the answer came: it may have happened, so it costs what was reserved."""
        if _seconds_unanswered(row) >= _GRACE:
            reason = "outcome unknown: it was never answered"
            await self.gateway.store.durable(lambda db: ledger.settle(db, _id(row), row.amount_micros, reason))
        return self.interval

    async def _find(self, row: ReservationRow, found: dict[str, Any] | None) -> float:
        """Its create was never answered: keep the reservation when it exists after all, else give it back."""
        if _seconds_unanswered(row) < _GRACE:
            return self.interval
        if found is not None:
            await self.gateway.store.durable(lambda db: ledger.confirm(db, _id(row), row.resource))
            return 0.0

        def give_back(db: Any) -> None:
            held = ledger.held_by(db, _id(row))
            if held is not None:
                ledger.release(db, held)
                db.execute(_FORGET, {"id": row.id})

        await self.gateway.store.durable(give_back)
        return self.interval

    async def _end(self, row: ReservationRow, spent: int) -> None:
        deployment = row.billing == "deployment"
        collection = row.resource.split("/")[2]
        method = "DeleteDeployment" if deployment else f"Cancel{collection[0].upper()}{collection[1:-1]}"
        if row.until is not None and now() >= parse_rfc3339(row.until) - timedelta(seconds=_LEAD):
            reason = reason_of_time(row.until)
        else:
            reason = reason_of_cost(row.amount_micros)
        if not row.reason:
            await self._write_down(row, method, reason, spent)
        path = f"/v1/{row.resource}"
        send = self.gateway.platform.delete(f"{path}?ignoreChecks=true") if deployment else None
        response = await (send or self.gateway.platform.post(f"{path}:cancel"))
        if response.status_code >= 400:
            log.warning("%s %s: HTTP %s", method, row.resource, response.status_code)

    async def _write_down(self, row: ReservationRow, method: str, reason: str, spent: int) -> None:
        principal = reaper_of(row.account)

        def write(db: Any) -> None:
            db.execute(_REASON, {"id": row.id, "reason": reason})
            audit.append(
                db,
                principal=principal.label,
                method=method,
                resource=row.resource,
                verdict="allowed",
                rule="approved-limit",
                detail={"session": row.session, "reason": reason, "spent": str(spent)},
            )

        await self.gateway.store.durable(write)
        if self.gateway.listener is not None:
            cost = from_micros(spent)
            await self.gateway.listener(
                RpcRecord(
                    row.session, principal.label, method, row.resource, "end", True, "approved-limit", reason, cost, 200
                )
            )

    async def _replica_seconds(self, rows: list[ReservationRow]) -> dict[str, float]:
        """Replica-seconds by deployment ID since the oldest of `rows`, as the platform bills them."""
        sums: dict[str, float] = {}
        for account in {row.account for row in rows}:
            start = min(row.create_time for row in rows if row.account == account)
            query = {
                "startTime": to_rfc3339(_floor(parse_rfc3339(start))),
                "endTime": to_rfc3339(now() + timedelta(minutes=1)),
                "usageType": "DEDICATED_DEPLOYMENT",
                "groupBy": "deployment_name",
            }
            response = await self.gateway.platform.get(f"/v1/accounts/{account}/billingUsage?{urlencode(query)}")
            if response.status_code != 200:
                raise Unavailable(f"billingUsage answered HTTP {response.status_code}.")
            for usage in response.json().get("dedicatedCosts", []):
                name = str(usage["group"]["deployment_name"]).rpartition("/")[2]
                sums[name] = sums.get(name, 0.0) + float(usage["acceleratorSeconds"])
        return sums


def _seconds_unanswered(row: ReservationRow) -> float:
    """Since a process last waited for the answer."""
    return (now() - parse_rfc3339(row.touch_time or row.create_time)).total_seconds()


def _spent_by_deployment(row: ReservationRow, seconds: Mapping[str, float] | None) -> int:
    if seconds is None:  # settled without, it would be settled too low
        raise Unavailable("What it has cost is not known now.")
    used = Decimal(str(seconds.get(row.resource.rpartition("/")[2], 0.0)))
    cost = used * (row.hour_micros or 0) / 3600
    return max(row.accrued_micros, int(cost.to_integral_value(ROUND_CEILING)))


def _spent_by_job(row: ReservationRow, found: Mapping[str, Any] | None, state: str) -> int:
    """Its `estimatedCost`; without one an ended job costs what was reserved: an unknown cost is never guessed low."""
    if found is None:
        return row.accrued_micros
    money = found.get("estimatedCost")
    if not isinstance(money, dict):
        return row.amount_micros if state in TERMINAL else row.accrued_micros
    exact = Decimal(str(money.get("units") or 0)) * 1_000_000 + Decimal(str(money.get("nanos") or 0)) / 1000
    return int(exact.to_integral_value(ROUND_CEILING))


def _seconds_left(row: ReservationRow, spent: int) -> float:
    """Until its time limit or, at its full rate, its cost limit, whichever comes first."""
    left = [3600.0]
    if row.until is not None:
        left.append((parse_rfc3339(row.until) - now()).total_seconds())
    if row.hour_micros:
        left.append((row.amount_micros - spent) * 3600 / (row.hour_micros * row.replicas))
    elif spent >= row.amount_micros:
        left.append(0.0)
    return min(left)


def _lead(row: ReservationRow) -> float:
    """Seconds before its limit at which it is ended."""
    if row.billing == "deployment" or not row.hour_micros:
        return _LEAD
    return max(_LEAD, min(_JOB_LEAD, row.amount_micros * 3600 / row.hour_micros / 4))


def _floor(moment: datetime) -> datetime:
    """At most 30 days back: the platform answers for 31 [P108]."""
    return max(moment.replace(microsecond=0), now() - timedelta(days=30))


def _id(row: ReservationRow) -> int:
    if row.id is None:
        raise ValueError("a stored reservation has an ID")
    return row.id
