"""Cancelling a session's record; its process and its jobs are ended by others."""

from sqlalchemy import Engine

from agent import estimates, journal, spending
from agent.states import Move, Status
from agent.store import get_session, writing
from pilotlight.identity import Principal, check_writer


def cancel_session(engine: Engine, caller: Principal, session_id: str) -> None:
    """Move a session to cancelled; one that is cancelled already stays so.

    Raises FailedPrecondition for a session that has succeeded or failed.
    """
    with writing(engine) as db:
        row = get_session(db, caller.account, session_id)
        check_writer(caller, row.created_by)
        if row.status == Status.CANCELLED.value:
            return
        estimates.record_run(db, row, "cancelled")
        spending.revoke_grants(db, session_id)
        journal.move(db, session_id, Move.CANCEL, reason=f"cancelled by {caller.email}", changes={"question_id": None})
