"""`:update`: an answer to a waiting session, an instruction to any other [DESIGN section 3]. One transaction each."""

from typing import Any

from sqlalchemy import Engine
from sqlmodel import Session

from agent import answers, instructions, journal
from agent.requests import find_reply, keep_reply
from agent.states import Move, Status
from agent.store import get_session, writing
from agent.tables import AnswerRow, SessionRow
from agent.views import etag_of, session_name, show_session
from agent.wire import UpdateSession
from pilotlight.crashpoints import Point, reach
from pilotlight.errors import Aborted, FailedPrecondition, InvalidArgument
from pilotlight.identity import Principal, check_writer
from pilotlight.settings import Settings


def update_session(
    engine: Engine, settings: Settings, caller: Principal, session_id: str, body: UpdateSession
) -> dict[str, Any]:
    """Apply an update and return the session afterwards; the same requestId gets the same reply, once applied.

    Raises Aborted for a stale etag or planHash and for a question somebody else answered first, FailedPrecondition
    when the session's status does not allow it, InvalidArgument for a body that says nothing or too much.
    """
    if (body.instruction is None) == (body.answer is None):
        raise InvalidArgument("Give either `instruction` or `answer`.")
    with writing(engine) as db:
        row = get_session(db, caller.account, session_id)
        check_writer(caller, row.created_by)
        scope = session_name(row)
        if (reply := find_reply(db, scope, body.request_id, body)) is not None:
            return reply
        if body.etag is not None and body.etag != etag_of(row):
            raise Aborted("The session changed since you read it.", hint="Read it again, then retry.")
        _apply(db, settings, row, caller, body)
        view = show_session(db, settings, get_session(db, caller.account, session_id))
        reply = view.model_dump(mode="json", by_alias=True)
        keep_reply(db, scope, body.request_id, body, reply)
        reach(Point.CONTROL_UPDATE_WRITTEN)
    reach(Point.CONTROL_UPDATE_COMMITTED)
    return reply


def _apply(db: Session, settings: Settings, row: SessionRow, caller: Principal, body: UpdateSession) -> None:
    question_id = body.question_id or (body.answer.question_id if body.answer else None)
    if body.answer and body.question_id not in (None, body.answer.question_id):
        raise InvalidArgument("`questionId` and `answer.questionId` differ.")
    if row.status == Status.CANCELLED.value:
        raise FailedPrecondition("This session was cancelled.", hint="Create a new session.")
    if row.status == Status.WAITING.value and question_id in (None, row.question_id):
        answers.give_answer(db, settings, row, caller, body)
        return
    if question_id is not None:
        raise _wrong_question(db, row, question_id)
    if body.plan_hash is not None:
        raise FailedPrecondition(f"The session is {row.status}: no plan waits for approval.")
    _instruct(db, row, caller, body.instruction or "")


def _wrong_question(db: Session, row: SessionRow, question_id: str) -> Aborted | FailedPrecondition:
    if db.get(AnswerRow, (row.id, question_id)) is not None:
        return Aborted(f"Question {question_id} has been answered already.", hint="Read the session again.")
    if row.status == Status.WAITING.value:
        return Aborted(f"The session now waits for question {row.question_id}, not {question_id}.")
    return FailedPrecondition(f"The session is {row.status}: it does not wait for an answer.")


_REOPENERS = {Status.SUCCEEDED: Move.REOPEN, Status.FAILED: Move.RETRY}


def _instruct(db: Session, row: SessionRow, caller: Principal, text: str) -> None:
    instructions.keep(db, row, text, caller)
    step = _REOPENERS.get(Status(row.status))
    if step is not None:
        journal.move(db, row.id, step, changes={"turn": SessionRow.turn + 1})
