"""What a notification says."""

import json
from typing import Any

from sqlmodel import Session

from agent import spending
from agent.store import load_session
from agent.tables import NoticeRow
from agent.views import find_question, session_name

_COST = {"so_far", "reserved", "approved"}
_MOST_TEXT = 8000
"""Characters of a question's text or a reason: a notification is no place to read a long plan."""


def describe(db: Session, session_id: str, seq: int, status: str, reason: str) -> dict[str, Any]:
    """The data of a notification about the status that a session has just reached, read in the same transaction."""
    row = load_session(db, session_id)
    question = find_question(db, row)
    data: dict[str, Any] = {
        "session": session_name(row),
        "sessionId": row.id,
        "status": status,
        "seq": seq,
        "turn": row.turn,
        "instruction": _cut(row.instruction),
        "reason": _cut(reason),
        "cost": spending.read_cost(db, session_id).model_dump(mode="json", by_alias=True, include=_COST),
    }
    if question is not None:
        data["question"] = {
            "questionId": question.question_id, "kind": question.kind.value, "text": _cut(question.text)
        }  # fmt: skip
        data["planHash"] = question.plan_hash
    return data


def compose(notice: NoticeRow, url: str) -> bytes:
    """The body of a delivery: the same bytes at every attempt. `url` is what users reach the control process by."""
    data = json.loads(notice.data)
    link = f"{url}/v1/{data['session']}"
    data["links"] = {"session": link, "events": f"{link}/events", "artifacts": f"{link}/artifacts"}
    body = {"type": f"session.{notice.status}", "timestamp": notice.time, "data": data}
    return json.dumps(body, separators=(",", ":")).encode()


def _cut(text: str) -> str:
    return text if len(text) <= _MOST_TEXT else f"{text[:_MOST_TEXT]}\n... (cut; the session has all of it)"
