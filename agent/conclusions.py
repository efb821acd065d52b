"""What follows from the end of a turn's process: the session asks, goes on, tries again, or rests."""

from sqlalchemy import func
from sqlmodel import Session, col, select

from agent import estimates, journal, spending
from agent.questions import publish_question
from agent.states import Move
from agent.tables import AnswerRow, EventRow, InstructionRow, SessionRow, TurnRow

_MOST_REPEATS = 5
"""How often a runner may end on a question that is answered already before it counts as stuck."""
MOST_DEATHS = 3
"""How often in a row a runner may be killed without having got anywhere in between."""
_NO_PROGRESS = ("status", "error")
"""Events that the control process writes by itself: they say nothing about the runner."""


def was_killed(exit_code: int | None, complaint: str) -> bool:
    """Whether a process that said nothing of its outcome was ended by a signal, or without a word."""
    if exit_code is None or exit_code < 0 or exit_code > 128:
        return True
    return not complaint.strip()


def conclude(db: Session, row: SessionRow, record: TurnRow, complaint: str) -> None:
    """Move a running session on, by what its turn said before it ended."""
    if record.outcome is None and record.killed:
        _repeat(db, row, record, complaint)
    elif record.outcome is None:
        fail(db, row, _why(record.exit_code, complaint), _retry(row))
    elif record.outcome == "asked":
        _pause(db, row, record)
    elif record.outcome == "succeeded":
        estimates.record_run(db, row, "succeeded")
        spending.revoke_grants(db, row.id)
        journal.move(db, row.id, Move.SUCCEED)  # the report event has the words
        if _unread_instructions(db, row):
            journal.move(db, row.id, Move.REOPEN, reason="an instruction came", changes={"turn": SessionRow.turn + 1})
    elif record.outcome == "failed":
        fail(db, row, record.message, "")
    else:
        estimates.record_run(db, row, "cancelled")
        spending.revoke_grants(db, row.id)
        journal.move(db, row.id, Move.CANCEL, reason=record.message)


def fail(db: Session, row: SessionRow, message: str, hint: str) -> None:
    """The session has failed; `:update` retries it."""
    estimates.record_run(db, row, "failed")
    journal.append(db, row.id, "error", {"message": message, "hint": hint})
    journal.move(db, row.id, Move.FAIL, reason=message)


def _repeat(db: Session, row: SessionRow, record: TurnRow, complaint: str) -> None:
    """A runner that was killed is no failure of the session, unless it is killed again and again at the same place."""
    deaths, how = _count_deaths(db, record), _how(record.exit_code)
    if deaths < MOST_DEATHS:
        journal.move(db, row.id, Move.RECOVER, reason=f"the runner was killed ({how}) and starts again")
        return
    message = f"The runner was killed {deaths} times in a row ({how}), without getting any further in between."
    tail = complaint.strip()
    fail(db, row, f"{message}\n{tail}" if tail else message, _retry(row))


def _count_deaths(db: Session, record: TurnRow) -> int:
    """This death, and those of the same turn right before it, back to the last one that had got somewhere."""
    same = (TurnRow.session_id == record.session_id, TurnRow.turn == record.turn, TurnRow.epoch <= record.epoch)
    deaths = 0
    for one in db.exec(select(TurnRow).where(*same).order_by(col(TurnRow.epoch).desc())):
        deaths += one.killed
        if deaths == MOST_DEATHS or _got_somewhere(db, one):
            break
    return deaths


def _got_somewhere(db: Session, record: TurnRow) -> bool:
    """Whether the turn wrote an event, or had an effect (which is one, too)."""
    mine = (EventRow.session_id == record.session_id, EventRow.epoch == record.epoch)
    return (
        db.exec(select(EventRow.seq).where(*mine, col(EventRow.type).not_in(_NO_PROGRESS)).limit(1)).first() is not None
    )


def _pause(db: Session, row: SessionRow, record: TurnRow) -> None:
    question_id = record.question_id or ""
    if db.get(AnswerRow, (row.id, question_id)) is None:
        publish_question(db, row, question_id)
        journal.move(db, row.id, Move.ASK, changes={"question_id": question_id})
        return
    same = (TurnRow.session_id == row.id, TurnRow.question_id == question_id)
    if db.exec(select(func.count()).select_from(TurnRow).where(*same)).one() > _MOST_REPEATS:
        fail(db, row, f"The runner asked question {question_id} again and again, though it is answered.", "")
        return
    journal.move(db, row.id, Move.CONTINUE, reason="the question is answered", changes={"turn": SessionRow.turn + 1})


def _unread_instructions(db: Session, row: SessionRow) -> bool:
    newest = db.exec(select(func.max(InstructionRow.number)).where(InstructionRow.session_id == row.id)).one()
    return (newest or 0) > row.seen_instruction


def _how(exit_code: int | None) -> str:
    if exit_code is None:
        return "no exit code"
    number = -exit_code if exit_code < 0 else exit_code - 128
    return f"signal {number}" if number > 0 else f"exit code {exit_code}, without a word"


def _why(exit_code: int | None, complaint: str) -> str:
    reason = f"The runner ended with exit code {exit_code} before it asked or finished."
    return f"{reason}\n{complaint.strip()}"


def _retry(row: SessionRow) -> str:
    return f"Retry: `firectl session update {row.id} --instruction 'Try again.'`"
