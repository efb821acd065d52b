"""Events of a session: pages, and a stream that survives reconnects."""

import base64
import binascii
from typing import Annotated

from fastapi import APIRouter, Header, Query
from sse_starlette import EventSourceResponse
from starlette.concurrency import run_in_threadpool

from agent import views
from agent.context import CallerDep, ControlDep
from agent.failures import ERRORS
from agent.states import Status
from agent.store import get_session, reading
from agent.streams import PING_SECONDS, check_position, stream_events
from agent.wire import EventPage, Time
from pilotlight.clock import to_rfc3339
from pilotlight.errors import InvalidArgument
from pilotlight.strict_json import StrictRoute

router = APIRouter(
    prefix="/v1/accounts/{account}/sessions/{session}", route_class=StrictRoute, responses=ERRORS, tags=["events"]
)
_LARGEST = 2**53
_SERVER_SENT = {
    "type": "object",
    "description": "`data` is an Event as JSON; of `done`, the last one: {status}.",
    "properties": {"id": {"type": "string"}, "event": {"type": "string"}, "data": {"type": "string"}},
    "required": ["event", "data"],
}
After = Annotated[int, Query(alias="afterSeq", ge=0, le=_LARGEST)]
Start = Annotated[Time | None, Query(alias="startTime")]


@router.get("/events")
def list_events(
    control: ControlDep,
    caller: CallerDep,
    session: str,
    after_seq: After = 0,
    start_time: Start = None,
    page_size: Annotated[int, Query(alias="pageSize", ge=0)] = 0,
    page_token: Annotated[str, Query(alias="pageToken")] = "",
) -> EventPage:
    """Events in order of seq; `afterSeq` and `startTime` narrow them."""
    size, after = min(page_size, 500) or 200, max(after_seq, _read_token(page_token))
    with reading(control.engine) as db:
        row = get_session(db, caller.account, session)
        start = to_rfc3339(start_time) if start_time else None
        found = views.read_events(db, row.id, after, start, size + 1)
        events = [views.show_event(row, event) for event in found[:size]]
    token = _make_token(int(events[-1].seq)) if len(found) > size else ""
    return EventPage(events=events, next_page_token=token, status=Status(row.status))


@router.get(
    "/events:stream",
    response_class=EventSourceResponse,
    responses={200: {"content": {"text/event-stream": {"schema": _SERVER_SENT}}}},
)
async def stream(
    control: ControlDep,
    caller: CallerDep,
    session: str,
    after_seq: After = 0,
    start_time: Start = None,
    last_event_id: Annotated[str | None, Header(pattern=r"^[0-9]{1,15}$")] = None,
) -> EventSourceResponse:
    """Server-sent events; `id` is the seq. Ends with an event `done` when the session waits or has ended."""
    after = max(after_seq, int(last_event_id or 0))
    await run_in_threadpool(check_position, control.engine, caller.account, session, after)
    start = to_rfc3339(start_time) if start_time else None
    source = stream_events(control.feeds, session, after, start)
    return EventSourceResponse(source, ping=PING_SECONDS, send_timeout=30)


def _make_token(seq: int) -> str:
    return base64.urlsafe_b64encode(f"seq:{seq}".encode()).decode().rstrip("=")


def _read_token(token: str) -> int:
    if not token:
        return 0
    try:
        text = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True).decode()
        seq = int(text.removeprefix("seq:"))
    except (ValueError, binascii.Error) as error:
        raise InvalidArgument("Invalid pageToken.", hint="Pass the nextPageToken of the previous page.") from error
    if not 0 <= seq <= _LARGEST:
        raise InvalidArgument("Invalid pageToken.", hint="Pass the nextPageToken of the previous page.")
    return seq
