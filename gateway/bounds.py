"""What bounds a session beside its grants: its own limit, those of its key, and the ceiling of an autoApprove."""

from decimal import Decimal
from typing import Any

from sqlmodel import Session

from gateway import audit
from gateway.admission import refusal
from gateway.tables import LimitRow
from pilotlight.errors import FailedPrecondition, PilotlightError, ResourceExhausted
from pilotlight.identity.tables import KeyMonth
from pilotlight.money import from_micros, show, to_micros


def open_account(
    db: Session, session: str, limit: Decimal | None, key_limit_micros: int | None, key_month: str | None
) -> None:
    """Set what bounds a new session: its own limit, that of the key which created it, and the counter of the key's
    month, to which all that the session holds is added."""
    row = limit_row(db, session)
    row.limit_micros = None if limit is None else to_micros(limit)
    row.key_limit_micros, row.key_month = key_limit_micros, key_month
    db.add(row)
    db.flush()


def note_ceiling(db: Session, session: str, principal: str, detail: dict[str, Any]) -> None:
    """Audit that a person set an autoApprove ceiling: what it approves later stands in the same chain."""
    audit.append(
        db.connection(),
        principal=principal,
        method="",
        resource=session,
        verdict="set",
        rule="spend.auto-approve",
        detail=detail,
    )


def refusal_above(db: Session, session: str, more: int, ceiling: int | None) -> PilotlightError | None:
    """Why the session may not get `more` micro-dollars on top of what it holds, None when it may. Locks its limits."""
    limit = limit_row(db, session)
    db.add(limit)
    for rule, bound, held in (*_limits(db, limit), ("spend.auto-approve", ceiling, limit.held_micros)):
        if bound is not None and held + more > bound:
            return _over(rule, bound, held)
    return None


def limit_row(db: Session, session: str) -> LimitRow:
    """The session's limits as they are now, locked until the transaction ends; a new row when there are none."""
    found = db.get(LimitRow, session, populate_existing=True, with_for_update=True)
    return found or LimitRow(session=session)


def _limits(db: Session, limit: LimitRow) -> list[tuple[str, int | None, int]]:
    """Rule, bound and what counts against it, of each limit of the session."""
    held = limit.held_micros
    found = [("spend.limit", limit.limit_micros, held), ("spend.key-session", limit.key_limit_micros, held)]
    if limit.key_month is not None:
        month = db.get_one(KeyMonth, limit.key_month, populate_existing=True, with_for_update=True)
        found.append(("spend.key-month", month.limit_micros, month.held_micros))
    return found


def _over(rule: str, bound: int, held: int) -> PilotlightError:
    kind, whose, advice = _RULES[rule]
    amount = f"{show(from_micros(bound))}, of which {show(from_micros(held))} is spent or reserved"
    return refusal(kind, "", rule, f"This plan may cost more than {whose} {amount}.", advice)


_CHEAPER = "Ask for a cheaper plan (`budget $1`)"
_OTHER_KEY = f"{_CHEAPER}, or ask an admin for a key with another limit and start a new session with it."
_RULES: dict[str, tuple[type[PilotlightError], str, str]] = {
    "spend.limit": (
        FailedPrecondition,
        "is left of the session's limit of",
        f"{_CHEAPER}, or start a new session with a higher limit.",
    ),
    "spend.key-session": (
        ResourceExhausted,
        "is left of what the session's API key may spend in one session:",
        _OTHER_KEY,
    ),
    "spend.key-month": (
        ResourceExhausted,
        "is left of what the session's API key may spend in one month (UTC):",
        _OTHER_KEY,
    ),
    "spend.auto-approve": (ResourceExhausted, "is left of the autoApprove ceiling of", "A person must approve it."),
}
