"""Approving a plan: the one place where grants are written, in the transaction that stores the answer."""

from sqlmodel import Session

from agent import spending
from agent.tables import PlanRow, SessionRow
from gateway.metering import load_gateway_prices
from pilotlight.clock import as_utc, now, parse_rfc3339, to_rfc3339
from pilotlight.errors import Aborted, FailedPrecondition, PermissionDenied
from pilotlight.identity import Principal
from pilotlight.money import to_micros
from pilotlight.plan import Gate, Plan
from pilotlight.question import Question, QuestionKind
from pilotlight.settings import Settings

_GATES: dict[QuestionKind, Gate] = {
    QuestionKind.PLAN_APPROVAL: "plan_approval",
    QuestionKind.SPEND_INCREASE: "plan_approval",
    QuestionKind.PROMOTION: "promotion",
    QuestionKind.COMPARISON: "comparison",
}


def check_approver(settings: Settings, row: SessionRow, caller: Principal) -> None:
    """Whether `caller`, who may change this session, may also approve what it spends. Raises PermissionDenied."""
    if not settings.approvals_distinct_principal:
        return
    if caller.user == row.created_user:
        raise PermissionDenied(
            f"{caller.user} started this session, and approvals.distinct_principal is on: whoever drives a session "
            "does not approve what it spends.",
            hint="Ask another person of the account to approve; you may still revise or reject.",
        )
    if caller.preset is not None:
        raise PermissionDenied(
            f"{caller.user} is a program with the preset {caller.preset}, and approvals.distinct_principal is on.",
            hint="Ask a person of the account to approve; a program may still revise or reject.",
        )


def approve(
    db: Session, row: SessionRow, question: Question, approver: str, settings: Settings, ceiling: int | None = None
) -> None:
    """Write the grants that `question` asks for, at today's prices; with `ceiling` (micro-dollars) only below it.

    Raises Aborted when its plan is no longer the session's plan, FailedPrecondition when the plan has expired, has an
    unknown cost or is above the session's limit, ResourceExhausted when it is above the ceiling or a limit of the
    session's key.
    """
    stored = db.get(PlanRow, (row.id, question.plan_hash)) if question.plan_hash else None
    if stored is None or row.plan_hash != question.plan_hash:
        raise Aborted("The plan changed since this question was asked.", hint="Read the session again.")
    plan = Plan.model_validate_json(stored.document)
    if as_utc(plan.expires) <= now():
        raise FailedPrecondition(
            "This plan has expired: its prices and estimates may no longer hold.",
            hint="Reply with what to change, or `Plan again.`, to get a fresh one.",
        )
    if plan.cost.unknown:
        raise FailedPrecondition(
            f"What this plan costs is not known: {'; '.join(plan.cost.unknown)}. Nothing without a price is approved.",
            hint="Reply `Plan again.` once the price book, or this machine's measured speed, has the missing price.",
        )
    prices = load_gateway_prices(settings)
    spending.write_grants(db, row.id, plan, _GATES[question.kind], approver, prices, ceiling)
    if stored.approved_by is None:
        stored.approved_by, stored.approved_time = approver, to_rfc3339(now())
        db.add(stored)


def covered_by_ceiling(db: Session, row: SessionRow, question: Question, settings: Settings) -> bool:
    """Whether the autoApprove ceiling, set in advance by a person, covers what `question` asks for.

    The ceiling bounds the whole session: all that is spent, reserved or granted counts, whoever approved it.
    """
    if row.auto_approve_micros is None or question.kind not in _GATES:
        return False
    if question.kind not in row.auto_approve_kinds.split() or not _in_force(row, settings):
        return False
    stored = db.get(PlanRow, (row.id, question.plan_hash)) if question.plan_hash else None
    if stored is None:
        return False
    plan, cost = Plan.model_validate_json(stored.document), spending.read_cost(db, row.id)
    if plan.cost.unknown:
        return False
    # The first approval is of the whole plan, although it grants only the calls up to the promotion.
    shown = plan.cost.total("high") + cost.so_far + cost.reserved
    if question.kind is not QuestionKind.PROMOTION and to_micros(shown) > row.auto_approve_micros:
        return False
    return spending.find_refusal(db, row.id, plan, _GATES[question.kind], row.auto_approve_micros) is None


def _in_force(row: SessionRow, settings: Settings) -> bool:
    if row.auto_approve_expires is None or parse_rfc3339(row.auto_approve_expires) <= now():
        return False
    # It is set by who creates the session: with this setting on, that is nobody who may approve.
    return not settings.approvals_distinct_principal
