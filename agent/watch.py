"""Wakes event streams after a commit. Only a hint: a stream always reads the log again, and also polls.

Writers announce sessions inside their transaction; the ring happens after its commit, from any thread.
"""

import asyncio
from collections import defaultdict
from threading import Lock
from typing import Any

from sqlalchemy import event
from sqlmodel import Session


class Bell:
    """Lets coroutines wait for the next commit that touches a session."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._waiting: dict[str, set[asyncio.Future[None]]] = defaultdict(set)

    def ring(self, session_id: str) -> None:
        """Wake everybody who waits for `session_id`; callable from any thread."""
        with self._lock:
            waiters = self._waiting.pop(session_id, set())
        for waiter in waiters:
            loop = waiter.get_loop()
            if not loop.is_closed():
                loop.call_soon_threadsafe(_wake, waiter)

    def listen(self, session_id: str) -> "asyncio.Future[None]":
        """A future that the next ring completes. Take it before reading the log, so that no ring is missed."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        with self._lock:
            self._waiting[session_id].add(waiter)
        return waiter

    def forget(self, session_id: str, waiter: "asyncio.Future[None]") -> None:
        """Drop a waiter that no longer waits."""
        with self._lock:
            if waiters := self._waiting.get(session_id):
                waiters.discard(waiter)
                if not waiters:
                    del self._waiting[session_id]


BELL = Bell()
"""One bell per process: events are written by several apps of the same process."""


def announce(db: Session, session_id: str) -> None:
    """Ring for `session_id` when the transaction of `db` commits."""
    touched: set[str] = db.info.setdefault("touched_sessions", set())
    touched.add(session_id)


def _wake(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)


@event.listens_for(Session, "after_commit")
def _ring(session: Any) -> None:
    for session_id in session.info.pop("touched_sessions", set()):
        BELL.ring(session_id)


@event.listens_for(Session, "after_rollback")
def _discard(session: Any) -> None:
    session.info.pop("touched_sessions", None)
