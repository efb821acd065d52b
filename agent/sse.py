"""Events as server-sent bytes: encoded once, sent to any number of watchers."""

import json
from typing import Any, NamedTuple

from sqlalchemy import Engine

from agent import views
from agent.states import Status
from agent.store import reading
from agent.tables import SessionRow
from pilotlight.errors import NotFound

_BATCH = 200


class Chunk(NamedTuple):
    """One event, encoded."""

    seq: int
    time: str
    data: bytes


class Found(NamedTuple):
    """Part of a log, in one snapshot with the status: a status is only told with all events that led to it."""

    chunks: list[Chunk]
    position: int
    """Everything up to here has been looked at."""
    status: Status
    complete: bool
    """Whether that is the end of the log."""


def read_log(engine: Engine, session_id: str, after: int, start_time: str | None = None) -> Found:
    """What follows seq `after`; a negative one counts from the end of the log. Raises NotFound."""
    with reading(engine) as db:
        row = db.get(SessionRow, session_id)
        if row is None:
            raise NotFound(f"Session {session_id} was not found.")
        after = max(row.last_seq + after, 0) if after < 0 else after
        events = views.read_events(db, row.id, after, start_time, _BATCH)
        chunks = [
            _encode(event, views.show_event(row, event).model_dump(mode="json", by_alias=True)) for event in events
        ]
    complete = len(chunks) < _BATCH
    position = max(after, row.last_seq) if complete else chunks[-1].seq
    return Found(chunks, position, Status(row.status), complete)


def encode_done(status: str) -> bytes:
    """The last event of a stream: it has no seq."""
    return _frame("done", {"status": status})


def encode_delta(payload: dict[str, str]) -> bytes:
    """Text that is being written. Without an `id`, so that a client's Last-Event-ID stays that of the last event."""
    return _frame("delta", payload)


def _encode(event: Any, body: dict[str, Any]) -> Chunk:
    return Chunk(event.seq, event.time, b"id: %d\r\n" % event.seq + _frame(event.type, body))


def _frame(kind: str, body: dict[str, Any]) -> bytes:
    # JSON text has no line ends: one data line holds it.
    return f"event: {kind}\r\ndata: {json.dumps(body)}\r\n\r\n".encode()
