"""The event stream: everything after a position, exactly once and in order, until nothing more can come by itself."""

from collections.abc import AsyncIterator

from sqlalchemy import Engine
from starlette.concurrency import run_in_threadpool

from agent import sse
from agent.feeds import Feed, Feeds, News
from agent.states import RESTING
from agent.store import get_session, reading
from pilotlight.errors import NotFound, OutOfRange

PING_SECONDS = 15
"""Dead connections are only noticed by writing to them."""


def check_position(engine: Engine, account: str, session_id: str, after: int) -> None:
    """Raises NotFound without the session, OutOfRange for a position that its log has not reached."""
    with reading(engine) as db:
        row = get_session(db, account, session_id)
    if after > row.last_seq:
        raise OutOfRange(f"The log of session {session_id} ends at seq {row.last_seq}; {after} is beyond it.")


async def stream_events(feeds: Feeds, session_id: str, after: int, start_time: str | None) -> AsyncIterator[bytes]:
    """Server-sent events after `after`, then `done` with the status at which the session rests.

    In between, deltas as they come. When the database fails it ends without `done`: the client resumes where it was.
    """
    async with feeds.open(session_id) as feed:
        try:
            async for body in _follow(feeds, feed, after, start_time):
                yield body
        except NotFound:
            yield sse.encode_done("deleted")


async def _follow(feeds: Feeds, feed: Feed, after: int, start_time: str | None) -> AsyncIterator[bytes]:
    deltas = feed.delta_count
    while not feed.broken:
        changed = feed.changes()
        if feed.deleted:
            raise NotFound(f"Session {feed.session_id} was deleted.")
        if feed.last >= 0:
            news = await _read(feeds, feed, after, start_time)
            body, after = news.body + feed.take_deltas(deltas), news.position
            deltas = feed.delta_count
            if body:
                yield body
            if news.status is not None and news.status in RESTING:
                yield sse.encode_done(news.status)
                return
        if after >= feed.last:
            await changed.wait()


async def _read(feeds: Feeds, feed: Feed, after: int, start_time: str | None) -> News:
    if news := feed.take(after, start_time):
        return news
    found = await run_in_threadpool(sse.read_log, feeds.engine, feed.session_id, after, start_time)
    status = found.status if found.complete else None
    return News(b"".join(chunk.data for chunk in found.chunks), found.position, status)
