"""The inbox: from a user's words, or a structured answer, to the one answer of a question."""

from typing import Any

from sqlmodel import Session

from agent import estimates, instructions, journal, replies, spending
from agent.approvals import approve, check_approver
from agent.states import Move
from agent.tables import AnswerRow, SessionRow
from agent.views import find_question
from agent.wire import StructuredAnswer, UpdateSession
from pilotlight.clock import now, to_rfc3339
from pilotlight.errors import Aborted, Internal, InvalidArgument
from pilotlight.identity import Principal
from pilotlight.plan import Phase
from pilotlight.question import Answer, Decision, Question, QuestionField, QuestionKind
from pilotlight.settings import Settings


def give_answer(db: Session, settings: Settings, row: SessionRow, caller: Principal, body: UpdateSession) -> None:
    """Answer the open question of a waiting session, or explain why this reply decides nothing."""
    question = find_question(db, row)
    if question is None:
        raise Internal(f"Session {row.id} waits without a question.")
    _check_hash(question, body)
    answer = _read_structured(question, body.answer) if body.answer else _read_words(question, body.instruction or "")
    if answer is None:
        _explain(db, row, question, body.instruction or (body.answer.text if body.answer else ""), caller)
        return
    if answer.decision is Decision.APPROVE:
        check_approver(settings, row, caller)
    answer.principal = caller.email
    record_answer(db, settings, row, question, answer)
    if answer.decision is Decision.REJECT:
        estimates.record_run(db, row, "cancelled")
        spending.revoke_grants(db, row.id)
        _close_phases(db, row, question)
        journal.move(db, row.id, Move.CANCEL, reason="rejected by the user", changes={"question_id": None})
    else:
        journal.move(db, row.id, Move.ANSWER, changes={"question_id": None, "turn": SessionRow.turn + 1})


def record_answer(
    db: Session, settings: Settings, row: SessionRow, question: Question, answer: Answer, ceiling: int | None = None
) -> None:
    """Store an answer and its event; an approval writes its grants, below the ceiling, in the same transaction."""
    if answer.decision is Decision.APPROVE:
        answer.plan_hash = question.plan_hash
        approve(db, row, question, answer.principal, settings, ceiling)
    document = answer.model_dump_json(by_alias=True)
    db.add(AnswerRow(session_id=row.id, question_id=question.question_id, document=document, time=to_rfc3339(now())))
    db.flush()
    journal.append(db, row.id, "answer", answer.model_dump(mode="json", by_alias=True))


def _close_phases(db: Session, row: SessionRow, question: Question) -> None:
    """Every session shows all seven phases: no runner comes back to tell those that a rejection leaves out."""
    if question.kind is QuestionKind.PLAN_APPROVAL:
        journal.append(db, row.id, "phase", {"phase": Phase.PLAN, "state": "completed", "summary": "rejected"})
    if question.kind is QuestionKind.SPEND_INCREASE:
        summary = "stopped at its approved limit; no more was approved"
        journal.append(db, row.id, "phase", {"phase": row.phase, "state": "completed", "summary": summary})
    phases = list(Phase)
    for phase in phases[phases.index(Phase(row.phase or Phase.PLAN)) + 1 :]:
        journal.append(db, row.id, "phase", {"phase": phase, "state": "skipped", "reason": "rejected by the user"})


def _check_hash(question: Question, body: UpdateSession) -> None:
    given = {body.plan_hash, body.answer.plan_hash if body.answer else None} - {None}
    if given - {question.plan_hash}:
        raise Aborted(
            "The planHash is not that of the plan that waits for approval.",
            hint="Read the session again: the plan was revised.",
            details=[{"planHash": question.plan_hash}],
        )


def _read_words(question: Question, text: str) -> Answer | None:
    """None when the words decide nothing about an approval."""
    if question.kind not in replies.APPROVALS:
        return Answer(question_id=question.question_id, text=text)
    reading = replies.read_reply(text, question.kind)
    if reading.decision in ("question", "unclear"):
        return None
    return Answer(
        question_id=question.question_id, text=text, decision=Decision(reading.decision), changes=reading.changes
    )


def _read_structured(question: Question, given: StructuredAnswer) -> Answer | None:
    values = _check_values(question, given.values)
    if given.decision is None and question.kind in replies.APPROVALS:
        if values or not given.text.strip():
            raise InvalidArgument("An approval needs `decision`: approve, revise or reject.")
        return _read_words(question, given.text)
    if given.decision is Decision.APPROVE and question.kind not in replies.APPROVALS:
        raise InvalidArgument(f"A {question.kind} question has nothing to approve; give `values` or `text`.")
    if given.decision is Decision.APPROVE:
        _check_plain(question, given)
    if given.decision is Decision.REVISE and not (values or given.text.strip()):
        raise InvalidArgument("`revise` needs `values` or `text` that say what to change.")
    if given.decision is None and not (values or given.text.strip()):
        raise InvalidArgument("The answer is empty: give `values` or `text`.")
    changes = replies.read_reply(given.text, question.kind).changes if given.text.strip() else {}
    return Answer(
        question_id=question.question_id, text=given.text, decision=given.decision, values=values, changes=changes
    )


def _check_plain(question: Question, given: StructuredAnswer) -> None:
    """An approval is only what plainly approves: nothing beside it may say something else."""
    if given.values and question.kind not in (QuestionKind.PROMOTION, QuestionKind.COMPARISON):
        raise InvalidArgument(
            "An approval takes the plan as it is: `values` would change it.", hint="Use `revise` to change the plan."
        )
    if given.text.strip() and replies.read_reply(given.text, question.kind).decision != "approve":
        raise InvalidArgument(
            "`decision` is approve, but `text` says something else.",
            hint="Leave `text` out, or use `revise` or `reject`.",
        )


def _check_values(question: Question, values: dict[str, Any]) -> dict[str, Any]:
    fields = {field.name: field for field in question.fields}
    for name, value in values.items():
        if name not in fields:
            raise InvalidArgument(
                f"The question has no field {name[:80]!r}.", hint=f"Its fields: {', '.join(fields) or 'none'}."
            )
        _check_value(fields[name], value)
    return values


def _check_value(field: QuestionField, value: Any) -> None:
    options = [option.value for option in field.options]
    chosen: list[Any] = value if field.type == "multi_choice" and isinstance(value, list) else [value]
    if field.type in ("choice", "multi_choice") and any(item not in options for item in chosen):
        raise InvalidArgument(f"{field.name}: {str(value)[:80]!r} is not one of {', '.join(options)}.")
    if field.type == "number" and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise InvalidArgument(f"{field.name}: a number is wanted.")
    if field.type == "text" and not isinstance(value, str):
        raise InvalidArgument(f"{field.name}: text is wanted.")


def _explain(db: Session, row: SessionRow, question: Question, text: str, caller: Principal) -> None:
    """Say what is needed and show the question again: the last thing a driver reads stays the question.

    A question about the work or the platform is answered first, by a turn that asks the same again when it ends.
    """
    reading = replies.read_reply(text, question.kind)
    told = {"text": replies.explain(reading, question.kind)}
    if replies.asks(text):
        instructions.keep(db, row, text, caller)
        journal.append(db, row.id, "status_info", told)
        journal.move(db, row.id, Move.ANSWER, changes={"question_id": None, "turn": SessionRow.turn + 1})
        return
    journal.append(db, row.id, "answer", {"text": text, "questionId": None, "principal": caller.email})
    journal.append(db, row.id, "status_info", told)
    journal.append(db, row.id, "question", question.model_dump(mode="json", by_alias=True))
