"""The end of each watched session's log, read once for all who watch it.

A watcher keeps a position and nothing else: what it has not taken yet stays in the log, so a slow one costs no memory,
and one that has fallen behind what is kept here reads the log for itself.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import NamedTuple

from sqlalchemy import Engine
from starlette.concurrency import run_in_threadpool

from agent import sse
from agent.sse import Chunk
from agent.states import Status
from agent.ticker import Ticker
from agent.watch import BELL
from pilotlight.errors import NotFound

log = logging.getLogger(__name__)
_KEPT_EVENTS, _KEPT_BYTES = 256, 1 << 20
"""Of each watched session, at most."""
_KEPT_DELTAS = 64
_TAKEN_BYTES = 64 << 10
"""About as much goes out in one write."""


class News(NamedTuple):
    """What a watcher has not seen yet, as far as it is kept, and where that leaves it."""

    body: bytes
    position: int
    status: Status | None
    """Set when `position` is the end of the log: the status there."""


class Feed:
    """One watched session. All methods but `run` belong to the event loop and never block."""

    def __init__(self, session_id: str) -> None:
        self.session_id = session_id
        self.last = -1
        """Seq of the newest event; -1 until the log has been read."""
        self.watchers = 0
        self.deleted = False
        self.broken = False
        """Whether the log could not be read: nothing more comes from here."""
        self.delta_count = 0
        self.task: asyncio.Task[None] | None = None
        self._status = Status.PENDING
        self._changed = asyncio.Event()
        self._events: deque[Chunk] = deque()
        self._bytes = 0
        self._deltas: deque[bytes] = deque(maxlen=_KEPT_DELTAS)

    def changes(self) -> asyncio.Event:
        """Set when there is more. Take it before looking, so that nothing is missed."""
        return self._changed

    def take(self, position: int, start_time: str | None) -> News | None:
        """The next events after `position`; None when they are not kept here any more."""
        if position > self.last:  # who read the log is ahead of us: what we know of the status is old
            return News(b"", position, None)
        if position < self.last - len(self._events):
            return None
        first = max(0, len(self._events) - (self.last - position))
        parts, size = list[bytes](), 0
        for place in range(first, len(self._events)):
            chunk = self._events[place]
            if parts and size + len(chunk.data) > _TAKEN_BYTES:
                return News(b"".join(parts), position, None)
            position = chunk.seq
            if start_time is None or chunk.time >= start_time:
                parts.append(chunk.data)
                size += len(chunk.data)
        return News(b"".join(parts), position, self._status)

    def take_deltas(self, count: int) -> bytes:
        """Deltas after the first `count`, as far as they are still kept."""
        fresh = min(self.delta_count - count, len(self._deltas))
        return b"".join(list(self._deltas)[len(self._deltas) - fresh :]) if fresh > 0 else b""

    def add_delta(self, delta: bytes) -> None:
        """Show a delta to whoever watches now."""
        self.delta_count += 1
        self._deltas.append(delta)
        self.wake()

    def wake(self) -> None:
        """Everybody looks again."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def run(self, engine: Engine) -> None:
        """Follow the log until cancelled."""
        try:
            while True:
                ring = BELL.listen(self.session_id)
                try:
                    await self._read(engine)
                    await ring
                finally:
                    BELL.forget(self.session_id, ring)
        except NotFound:
            self.deleted = True
        except Exception:
            log.exception("Session %s cannot be followed; its watchers have to connect again.", self.session_id)
            self.broken = True
        self.wake()

    async def _read(self, engine: Engine) -> None:
        complete = False
        while not complete:
            after = self.last if self.last >= 0 else -_KEPT_EVENTS
            found = await run_in_threadpool(sse.read_log, engine, self.session_id, after)
            self._status, complete = found.status, found.complete
            self.last = found.position
            for chunk in found.chunks:
                self._events.append(chunk)
                self._bytes += len(chunk.data)
            while len(self._events) > _KEPT_EVENTS or self._bytes > _KEPT_BYTES:
                self._bytes -= len(self._events.popleft().data)
            self.wake()


class Feeds:
    """The watched sessions of one process."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._feeds: dict[str, Feed] = {}
        self._ticker = Ticker(engine, self._positions)

    @asynccontextmanager
    async def open(self, session_id: str) -> AsyncGenerator[Feed]:
        """The feed of a session, for as long as somebody watches it."""
        feed = self._feeds.get(session_id)
        if feed is None or feed.broken or feed.deleted:
            feed = self._feeds[session_id] = Feed(session_id)
            feed.task = asyncio.create_task(feed.run(self.engine), name=f"feed {session_id}")
            self._ticker.start()
        feed.watchers += 1
        try:
            yield feed
        finally:
            feed.watchers -= 1
            if not feed.watchers:
                self._close(feed)

    def show_delta(self, session_id: str, payload: dict[str, str]) -> None:
        """Show text that is being written, to whoever watches through this process now. Never stored, never again."""
        if feed := self._feeds.get(session_id):
            feed.add_delta(sse.encode_delta(payload))

    def _close(self, feed: Feed) -> None:
        if feed.task:
            feed.task.cancel()
        if self._feeds.get(feed.session_id) is feed:
            del self._feeds[feed.session_id]
        if not self._feeds:
            self._ticker.stop()

    def _positions(self) -> dict[str, int]:
        return {session_id: feed.last for session_id, feed in self._feeds.items() if feed.last >= 0}
