"""What the agent asks the gateway's ledger: grants to write or to revoke, cost to show."""

from decimal import Decimal

from sqlmodel import Session

from gateway import allowance, grants
from gateway.allowance import Allowance
from gateway.grants import CostSummary
from pilotlight.plan import Gate, Plan
from pilotlight.settings import Settings


def read_cost(db: Session, session_id: str) -> CostSummary:
    """Dollars of a session so far."""
    return grants.cost(db, session_id)


def read_allowance(db: Session, session_id: str) -> Allowance | None:
    """What the planner's own model may cost before the first plan, and has cost."""
    return allowance.read_allowance(db, session_id)


def write_allowance(db: Session, session_id: str, settings: Settings, limit: Decimal | None) -> None:
    """Give a new session the allowance of the settings, within its own limit."""
    allowance.write_allowance(db, session_id, settings, limit)


def set_limit(db: Session, session_id: str, limit: Decimal | None) -> None:
    """Bound what a session may ever spend, whatever is approved."""
    if limit is not None:
        grants.set_limit(db, session_id, limit)


def write_grants(db: Session, session_id: str, plan: Plan, gate: Gate, approver: str) -> None:
    """Activate the grants of one gate, in the transaction that stores the approval."""
    grants.write(db, session_id, plan, gate, approver)


def revoke_grants(db: Session, session_id: str) -> None:
    """Take back what is left: a session that has ended spends nothing without a new approval."""
    grants.revoke(db, session_id)
