"""Calls of a session's runner in the session's event log."""

import hashlib
from contextlib import suppress

from sqlalchemy import Engine
from starlette.concurrency import run_in_threadpool

from agent import journal
from agent.store import writing
from gateway import RpcRecord
from pilotlight.errors import NotFound
from pilotlight.plan import canonical_json


class CallLog:
    """The gateway's listener. What creates or spends is told each time; a repeated read or refusal once per session.

    The audit has every single call; the event log is for people.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._told: set[tuple[str, str]] = set()

    async def __call__(self, record: RpcRecord) -> None:
        """Append an `rpc` event unless the same was told before."""
        if record.replayed:
            return
        key = None if record.allowed and record.kind in ("create", "spend") else _key(record)
        if key is None or (record.session, key) not in self._told:
            await run_in_threadpool(self._append, record, key)

    def _append(self, record: RpcRecord, key: str | None) -> None:
        payload = {
            "method": record.method,
            "resource": record.resource,
            "verdict": "allowed" if record.allowed else "refused",
            "rule": record.rule,
            "reason": record.reason,
            "cost": str(record.cost),
            "code": record.code,
        }
        # A deleted session has no log; what it deployed is still ended at its limit, and audited.
        with suppress(NotFound), writing(self._engine) as db:
            journal.append(db, record.session, "rpc", payload, key=key)
        if key is not None:
            self._told.add((record.session, key))


def _key(record: RpcRecord) -> str:
    same = canonical_json([record.method, record.resource, record.allowed, record.rule, record.reason])
    return "rpc/" + hashlib.sha256(same.encode()).hexdigest()[:24]
