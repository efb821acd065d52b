"""What the agent asks the gateway's ledger: grants to write or to revoke, cost to show."""

from decimal import Decimal

from sqlmodel import Session

from agent.wire import AutoApprove
from gateway import allowance, bounds, grants
from gateway.allowance import Allowance
from gateway.grants import CostSummary
from pilotlight.errors import PilotlightError
from pilotlight.identity import Principal, open_month
from pilotlight.plan import Gate, Plan
from pilotlight.pricebook import PriceBook
from pilotlight.settings import Settings


def read_cost(db: Session, session_id: str) -> CostSummary:
    """Dollars of a session so far."""
    return grants.cost(db, session_id)


def open_account(db: Session, session_id: str, limit: Decimal | None, caller: Principal) -> None:
    """Bound what a session may ever spend, whatever is approved: by its limit and those of the caller's key."""
    bounds.open_account(db, session_id, limit, caller.session_limit_micros, open_month(db, caller))


def read_allowance(db: Session, session_id: str) -> Allowance | None:
    """What the planner's own model may cost before the first plan, and has cost."""
    return allowance.read_allowance(db, session_id)


def write_allowance(db: Session, session_id: str, settings: Settings, limit: Decimal | None) -> None:
    """Give a new session the allowance of the settings, within its own limit."""
    allowance.write_allowance(db, session_id, settings, limit)


def note_ceiling(db: Session, session_id: str, ceiling: AutoApprove, caller: Principal) -> None:
    """Audit who set an autoApprove ceiling."""
    bounds.note_ceiling(db, session_id, caller.email, ceiling.model_dump(mode="json", by_alias=True))


def find_refusal(
    db: Session, session_id: str, plan: Plan, gate: Gate, ceiling: int | None = None
) -> PilotlightError | None:
    """Why the grants of one gate could not be written now; None when they could."""
    return grants.refusal_of(db, session_id, plan, gate, ceiling)


def write_grants(
    db: Session, session_id: str, plan: Plan, gate: Gate, approver: str, prices: PriceBook, ceiling: int | None
) -> None:
    """Activate the grants of one gate, at these prices, in the transaction that stores the approval."""
    grants.write(db, session_id, plan, gate, approver, prices=prices, ceiling=ceiling)


def revoke_grants(db: Session, session_id: str) -> None:
    """Take back what is left: a session that has ended spends nothing without a new approval."""
    grants.revoke(db, session_id)


def end_grants(db: Session, session_id: str, resources: list[str]) -> None:
    """Take back what is left of the grants that these resources were created under."""
    grants.end_of(db, session_id, resources)
