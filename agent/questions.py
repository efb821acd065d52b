"""Questions of a turn: kept when asked, published when the turn's process has ended."""

import hashlib

from sqlmodel import Session

import prompts
from agent import answers, journal
from agent.approvals import covered_by_ceiling
from agent.tables import AnswerRow, PlanRow, QuestionRow, SessionRow, TurnRow
from pilotlight.clock import now, to_rfc3339
from pilotlight.errors import Aborted, FailedPrecondition
from pilotlight.plan import Gate, Plan, canonical_json
from pilotlight.question import Answer, Decision, Question, QuestionKind
from pilotlight.settings import Settings

_LATER_GATES: dict[QuestionKind, Gate] = {QuestionKind.PROMOTION: "promotion", QuestionKind.COMPARISON: "comparison"}
"""Questions about a plan that was approved before, with the gate whose grants their approval activates."""
_WITH_PLAN = frozenset({QuestionKind.PLAN_APPROVAL, QuestionKind.SPEND_INCREASE, *_LATER_GATES})


def ask_question(db: Session, row: SessionRow, question: Question, epoch: int, settings: Settings) -> None:
    """Keep a question of the running turn; asking the same again changes nothing.

    The text of a plan approval, or of an increase, is rendered here from the stored typed plan, and that of a promotion
    or a comparison ends with what it allows: what the user reads is what is hashed. Below the autoApprove ceiling it is
    answered at once, by record. Raises Aborted for a reused ID and a stale epoch, FailedPrecondition for an approval
    without its plan, and for a promotion or comparison of a plan that nobody approved.
    """
    turn = require_turn(db, row, epoch)
    if question.kind in _WITH_PLAN:
        _bind_plan(db, row, question)
    elif question.plan_hash:
        raise FailedPrecondition(f"A {question.kind} question approves nothing, so it names no plan.")
    digest = _digest(question)
    stored = db.get(QuestionRow, (row.id, question.question_id))
    if stored is not None and stored.digest != digest:
        raise Aborted(f"Question {question.question_id} was asked before with another content.")
    if stored is None:
        _keep(db, row, question, digest)
        if covered_by_ceiling(db, row, question, settings):
            _approve_by_record(db, row, question, settings)
    turn.outcome, turn.question_id = "asked", question.question_id
    db.add(turn)


def publish_question(db: Session, row: SessionRow, question_id: str) -> None:
    """Append the `question` event: what the session now waits for."""
    stored = db.get(QuestionRow, (row.id, question_id))
    if stored is None:
        raise Aborted(f"Question {question_id} is not known.")
    question = Question.model_validate_json(stored.document)
    journal.append(db, row.id, "question", question.model_dump(mode="json", by_alias=True))


def find_answer(db: Session, session_id: str, question_id: str) -> Answer | None:
    """The answer in the inbox."""
    row = db.get(AnswerRow, (session_id, question_id))
    return Answer.model_validate_json(row.document) if row else None


def require_turn(db: Session, row: SessionRow, epoch: int) -> TurnRow:
    """The record of the present turn. Raises Aborted for a stale epoch or a session that no longer runs."""
    turn = db.get(TurnRow, (row.id, epoch))
    if turn is None or row.epoch != epoch or row.status != "running":
        raise Aborted(f"This runner's lease on session {row.id} ended (epoch {epoch}, now {row.epoch}, {row.status}).")
    return turn


def _bind_plan(db: Session, row: SessionRow, question: Question) -> None:
    question.plan_hash = question.plan_hash or row.plan_hash
    stored = db.get(PlanRow, (row.id, question.plan_hash)) if question.plan_hash else None
    if stored is None or row.plan_hash != question.plan_hash:
        raise FailedPrecondition(f"A {question.kind} question needs the session's current plan, posted before.")
    gate = _LATER_GATES.get(question.kind)
    if gate and stored.approved_by is None:
        raise FailedPrecondition(f"A {gate} question needs a plan that was approved: nobody has read this one.")
    plan = Plan.model_validate_json(stored.document)
    if gate:
        question.text = f"{question.text.rstrip()}\n\n{prompts.render_allowed(plan, gate)}".rstrip()
        return
    if (question.kind is QuestionKind.SPEND_INCREASE) != (plan.increase is not None):
        raise FailedPrecondition(f"The session's current plan is not one that a {question.kind} question is about.")
    question.text = prompts.render_plan(plan)


def _keep(db: Session, row: SessionRow, question: Question, digest: str) -> None:
    document = question.model_dump_json(by_alias=True)
    db.add(
        QuestionRow(
            session_id=row.id,
            question_id=question.question_id,
            kind=question.kind.value,
            digest=digest,
            document=document,
            plan_hash=question.plan_hash,
            time=to_rfc3339(now()),
        )
    )
    db.flush()


def _approve_by_record(db: Session, row: SessionRow, question: Question, settings: Settings) -> None:
    publish_question(db, row, question.question_id)
    principal = f"autoApprove, set by {row.auto_approve_by}"
    answer = Answer(question_id=question.question_id, decision=Decision.APPROVE, principal=principal)
    answers.record_answer(db, settings, row, question, answer, row.auto_approve_micros)


def _digest(question: Question) -> str:
    return hashlib.sha256(canonical_json(question.model_dump(mode="json", by_alias=True)).encode()).hexdigest()
