"""What the user says outside of answers, kept in order for the next turn."""

from sqlalchemy import func
from sqlmodel import Session, select

from agent import journal
from agent.tables import InstructionRow, SessionRow
from pilotlight.clock import now, to_rfc3339
from pilotlight.identity import Principal


def keep(db: Session, row: SessionRow, text: str, caller: Principal) -> None:
    """Store an instruction, with its event; its session moves or not, as the caller decides."""
    query = select(func.max(InstructionRow.number)).where(InstructionRow.session_id == row.id)
    number = (db.exec(query).one() or 0) + 1
    time = to_rfc3339(now())
    db.add(InstructionRow(session_id=row.id, number=number, text=text, time=time, principal=caller.email))
    journal.append(db, row.id, "answer", {"text": text, "questionId": None, "principal": caller.email})
