"""A person at the other end: starts sessions, and approves, rejects, revises or ignores what they ask, at random."""

import asyncio
import sqlite3
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import httpx

from tests.adversary.process import ACCOUNT

Json = dict[str, Any]
SESSIONS = f"/v1/accounts/{ACCOUNT}/sessions"
MOST_TURNS = 3
_RESTING = ("waiting", "succeeded", "failed", "cancelled")
_WORDS = ("Approved, proceed.", "yes", "use rank 8 only", "What would it cost?", "Approved, but not the deployment.")


@dataclass
class Approval:
    """A person said yes: to this plan, at this time (before it was sent), at this gate. Perhaps it did not arrive."""

    session: str
    plan_hash: str
    kind: str
    time: float
    document: Json
    shown: str
    """The question as it was read."""


@dataclass
class Person:
    """Answers through the public API; that the control process dies now and then is part of the day."""

    http: httpx.AsyncClient
    database: Path
    rng: Random
    approvals: list[Approval] = field(default_factory=list[Approval])
    sessions: dict[str, Json] = field(default_factory=dict[str, Json])
    """What each session was created with."""
    handled: dict[str, int] = field(default_factory=dict[str, int])
    """Turn that was seen last and needs nothing more."""

    async def begin(self, count: int, seed: int) -> None:
        """Create the sessions; some with a spend limit, some with an autoApprove ceiling."""
        while len(self.sessions) < count:
            number = len(self.sessions)
            body: Json = {"instruction": f"Run SFT seed={seed}-{number}; please", "requestId": f"r{seed}-{number}"}
            rng = Random(f"person {seed} {number}")
            if rng.random() < 0.2:
                body["spendLimitUsd"] = rng.choice(("0.002", "0.02", "0.2"))
            if rng.random() < 0.2:
                soon = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
                body["autoApprove"] = {"maxUsd": rng.choice(("0", "0.01", "0.05")), "expireTime": soon.isoformat()}
            reply = await self._post("", body)
            if reply is not None:
                self.sessions[reply.json()["sessionId"]] = body

    def statuses(self) -> list[tuple[str, str, int]]:
        """(session, status, turn) of all, from the database: a person's page would poll much more slowly."""
        with sqlite3.connect(f"file:{self.database}?mode=ro", uri=True, timeout=30) as db:
            return list(db.execute("SELECT id, status, turn FROM sessions"))

    def done(self) -> int:
        """How many sessions rest and are left alone."""
        return sum(status in _RESTING and self.handled.get(name, 0) >= turn for name, status, turn in self.statuses())

    async def look(self) -> None:
        """Answer what waits, retry or reopen some of what ended, cancel a few."""
        due = [row for row in self.statuses() if self.handled.get(row[0], 0) < row[2] and row[0] in self.sessions]
        await asyncio.gather(*(self._handle(*row) for row in due))

    async def _handle(self, session: str, status: str, turn: int) -> None:
        if status == "running" and self.rng.random() < 0.002:
            await self._post(f"/{session}:cancel", {})
        elif status == "waiting" and turn < MOST_TURNS:
            if await self._answer(session):
                self.handled[session] = turn
        elif status in ("succeeded", "failed") and turn < MOST_TURNS and self.rng.random() < 0.5:
            if await self._post(f"/{session}:update", {"instruction": "Try again."}) is not None:
                self.handled[session] = turn
        elif status in _RESTING:
            self.handled[session] = turn

    async def _answer(self, session: str) -> bool:
        try:
            view = (await self.http.get(f"{SESSIONS}/{session}")).json()
        except httpx.TransportError:
            return False
        question, chance = view.get("question"), self.rng.random()
        if question is None or chance < 0.1:
            return True
        body: Json
        if chance < 0.8 and question.get("planHash"):
            body = self._approve(session, view, question)
        elif chance < 0.85:
            body = {"answer": {"questionId": question["questionId"], "decision": "reject"}}
        elif chance < 0.9:
            body = {"answer": {"questionId": question["questionId"], "decision": "revise", "text": "rank 8"}}
        else:
            body = {"instruction": self.rng.choice(_WORDS), "questionId": question["questionId"]}
            if question.get("planHash"):
                self._note(session, view, question)
        return await self._post(f"/{session}:update", body) is not None

    def _approve(self, session: str, view: Json, question: Json) -> Json:
        self._note(session, view, question)
        if self.rng.random() < 0.5:
            return {"instruction": "Approved, proceed.", "planHash": question["planHash"]}
        given = {"questionId": question["questionId"], "decision": "approve", "planHash": question["planHash"]}
        return {"answer": given}

    def _note(self, session: str, view: Json, question: Json) -> None:
        document = view["plan"]["document"]
        entry = (session, question["planHash"], question["kind"], time.time(), document, question["text"])
        self.approvals.append(Approval(*entry))

    async def _post(self, path: str, body: Json) -> httpx.Response | None:
        """None when the control process is away; a refusal is an answer."""
        try:
            reply = await self.http.post(SESSIONS + path, json=body)
        except httpx.TransportError:
            return None
        assert reply.status_code < 500, reply.text
        return reply
