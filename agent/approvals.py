"""Approving a plan: the one place where grants are written, in the transaction that stores the answer."""

from sqlmodel import Session

from agent import spending
from agent.tables import PlanRow, SessionRow
from pilotlight.clock import as_utc, now, parse_rfc3339, to_rfc3339
from pilotlight.errors import Aborted, FailedPrecondition
from pilotlight.money import to_micros
from pilotlight.plan import Gate, Plan
from pilotlight.question import Question, QuestionKind

_GATES: dict[QuestionKind, Gate] = {
    QuestionKind.PLAN_APPROVAL: "plan_approval",
    QuestionKind.SPEND_INCREASE: "plan_approval",
    QuestionKind.PROMOTION: "promotion",
}


def approve(db: Session, row: SessionRow, question: Question, approver: str) -> None:
    """Write the grants that `question` asks for.

    Raises Aborted when its plan is no longer the session's plan, FailedPrecondition when the plan has expired.
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
    spending.write_grants(db, row.id, plan, _GATES[question.kind], approver)
    if stored.approved_by is None:
        stored.approved_by, stored.approved_time = approver, to_rfc3339(now())
        db.add(stored)


def covered_by_ceiling(db: Session, row: SessionRow, question: Question) -> bool:
    """Whether the autoApprove ceiling, set in advance by a person, covers what `question` asks for.

    The ceiling bounds the whole session: what was spent before, and what is still reserved, counts.
    """
    if row.auto_approve_micros is None or row.auto_approve_expires is None or question.kind not in _GATES:
        return False
    stored = db.get(PlanRow, (row.id, question.plan_hash)) if question.plan_hash else None
    if stored is None or parse_rfc3339(row.auto_approve_expires) <= now():
        return False
    plan = Plan.model_validate_json(stored.document)
    cost = spending.read_cost(db, row.id)
    high = plan.cost.total("high") + cost.so_far + cost.reserved
    if question.kind is QuestionKind.PROMOTION:  # the plan's total, spending on it included, is what was approved
        high = max(plan.cost.total("high"), cost.so_far)
    return to_micros(high) <= row.auto_approve_micros
