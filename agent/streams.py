"""The event stream: everything after a position, exactly once and in order, until nothing more can come by itself."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

from sqlalchemy import Engine
from starlette.concurrency import run_in_threadpool

from agent import views
from agent.states import RESTING, Status
from agent.store import get_session, reading
from agent.watch import BELL
from pilotlight.database import DatabaseUnavailable
from pilotlight.errors import NotFound, OutOfRange

PING_SECONDS = 15
"""Dead connections are only noticed by writing to them."""
_POLL_SECONDS = 1.0
"""The log is read at least that often: another process may write too."""
_BATCH = 200


class _Batch(NamedTuple):
    events: list[dict[str, str]]
    last: int
    status: Status
    complete: bool


def check_position(engine: Engine, account: str, session_id: str, after: int) -> None:
    """Raises NotFound without the session, OutOfRange for a position that its log has not reached."""
    with reading(engine) as db:
        row = get_session(db, account, session_id)
    if after > row.last_seq:
        raise OutOfRange(f"The log of session {session_id} ends at seq {row.last_seq}; {after} is beyond it.")


async def stream_events(
    engine: Engine, account: str, session_id: str, after: int, start_time: str | None
) -> AsyncIterator[dict[str, str]]:
    """Server-sent events after `after`, then `done` with the status at which the session rests."""
    while True:
        ring = BELL.listen(session_id)
        try:
            batch = await run_in_threadpool(_read, engine, account, session_id, after, start_time)
            for event in batch.events:
                yield event
            after = max(after, batch.last)
            if batch.complete and batch.status in RESTING:
                yield _done(batch.status.value)
                return
            if batch.complete:
                await asyncio.wait([ring], timeout=_POLL_SECONDS)
        except NotFound:
            yield _done("deleted")
            return
        except DatabaseUnavailable:  # the reader is kept: it has missed nothing
            await asyncio.sleep(_POLL_SECONDS)
        finally:
            BELL.forget(session_id, ring)


def _read(engine: Engine, account: str, session_id: str, after: int, start_time: str | None) -> _Batch:
    """Events and status of one snapshot: a status is only reported with all events that led to it."""
    with reading(engine) as db:
        row = get_session(db, account, session_id)
        found = views.read_events(db, row.id, after, start_time, _BATCH)
        events = [_encode(event.model_dump(mode="json", by_alias=True)) for event in _views(row, found)]
    last = found[-1].seq if found else after
    return _Batch(events, last, Status(row.status), len(found) < _BATCH)


def _views(row: Any, found: Any) -> list[Any]:
    return [views.show_event(row, event) for event in found]


def _encode(event: dict[str, Any]) -> dict[str, str]:
    return {"id": event["seq"], "event": event["type"], "data": json.dumps(event)}


def _done(status: str) -> dict[str, str]:
    return {"event": "done", "data": json.dumps({"status": status})}
