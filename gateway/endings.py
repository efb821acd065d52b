"""What the reaper ended at its approved limit: a fact of the ledger, so that nobody has to guess it from a state."""

from decimal import Decimal
from typing import Literal

from sqlmodel import Session, col, select

from gateway.tables import ReservationRow
from pilotlight.money import from_micros, show
from pilotlight.wire import Wire

_AT_COST, _AT_TIME = "ended at its approved cost, ", "ended at its approved time limit, "


class Ended(Wire):
    """A job or deployment that was ended at its limit. Amounts in dollars; once `settled`, `spent` is final."""

    resource: str
    limit: Literal["cost", "time"]
    reason: str
    approved: Decimal
    spent: Decimal
    settled: bool


def reason_of_cost(micros: int) -> str:
    """The reason that is kept for something that used all of its money."""
    return f"{_AT_COST}{show(from_micros(micros))}"


def reason_of_time(until: str) -> str:
    """The reason that is kept for something whose time is over."""
    return f"{_AT_TIME}{until}"


def list_ended(db: Session, session: str) -> list[Ended]:
    """All of a session, oldest first."""
    reason = col(ReservationRow.reason)
    found = select(ReservationRow).where(
        col(ReservationRow.session) == session, reason.startswith(_AT_COST) | reason.startswith(_AT_TIME)
    )
    return [
        Ended(
            resource=row.resource,
            limit="cost" if row.reason.startswith(_AT_COST) else "time",
            reason=row.reason,
            approved=from_micros(row.amount_micros),
            spent=from_micros(row.accrued_micros),
            settled=row.state == "settled",
        )
        for row in db.exec(found.order_by("id")).all()
    ]
