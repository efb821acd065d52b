"""The client at the other end: starts sessions, answers what they ask, watches their events, and keeps a log of it.

What was acknowledged is in the log; what was sent and not acknowledged is sent again under the same requestId.
"""

import asyncio
import hashlib
import json
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

import aiohttp

from tests.crashes.shapes import Shape, choose_shape, reply_to

Json = dict[str, Any]
SESSIONS = "/v1/accounts/local/sessions"
ENDED = ("succeeded", "failed", "cancelled")
_FOR_NOW = ("cannot be reached", "did not answer", "does not answer now")
"""What a clean-up says of a platform or a database that is away."""
_AWAY = (aiohttp.ClientError, TimeoutError, OSError)


@dataclass
class Log:
    """What the client knows for sure."""

    created: dict[str, Json] = field(default_factory=dict[str, Json])
    """Session -> {body, shape, time}, once its creation was acknowledged."""
    updates: list[Json] = field(default_factory=list[Json])
    """Each definite answer to an update: session, questionId, requestId, body, code, time."""
    seen: dict[str, list[tuple[int, str]]] = field(default_factory=dict[str, list[tuple[int, str]]])
    """`session/watcher` -> (seq, digest) of each event, in the order of arrival."""
    problems: list[str] = field(default_factory=list[str])
    """What the client itself found wrong."""

    def count_seen(self) -> int:
        """Events that came to a watcher so far."""
        return sum(len(seen) for seen in self.seen.values())


def digest_of(kind: str, payload: Any) -> str:
    """Tells one event from another."""
    return hashlib.sha256(json.dumps([kind, payload], sort_keys=True).encode()).hexdigest()[:16]


class Person:
    """Talks to one control process, through all of its deaths."""

    def __init__(self, http: aiohttp.ClientSession, seed: int) -> None:
        self.http, self.seed, self.rng = http, seed, Random(f"person {seed}")
        self.log = Log()
        self.at_work: set[str] = set()
        """Sessions that have not ended yet."""
        self.interrupted: Counter[str] = Counter()
        """How often a session had to be told to try again."""

    async def run_session(self, number: int, shape: Shape | None = None) -> None:
        """One session from its creation to its end, and its cleanup."""
        rng = Random(f"session {self.seed} {number}")
        shape = shape or choose_shape(rng)
        body = {"instruction": shape.instruction, "requestId": f"create-{self.seed}-{number}"}
        view = await self._insist(SESSIONS, body)
        session = view["sessionId"]
        self.log.created[session] = {"body": body, "shape": shape.name, "end": shape.end, "time": time.time()}
        self.at_work.add(session)
        other = asyncio.create_task(self._watch(session, rng))
        try:
            await self._see_through(session, shape, rng)
            await self._clean(session)
            await other
        finally:
            other.cancel()
            self.at_work.discard(session)

    async def _see_through(self, session: str, shape: Shape, rng: Random) -> None:
        asked: Counter[str] = Counter()
        while True:
            status = await self._follow(session, "driver", None)
            if status == "waiting":
                await self._answer(session, shape, asked, rng)
            elif status == "failed":
                self.interrupted[session] += 1
                request = f"retry-{session}-{self.interrupted[session]}"
                await self._update(session, {"instruction": "Try again.", "requestId": request}, None)
            elif status in ENDED:
                return

    async def _answer(self, session: str, shape: Shape, asked: Counter[str], rng: Random) -> None:
        view = await self._get(f"{SESSIONS}/{session}")
        question = view.get("question")
        if view["status"] != "waiting" or question is None:
            return
        body, kind = reply_to(shape, question, asked[question["kind"]]), question["kind"]
        asked[kind] += 1
        bodies = _rivals(body, question, f"{session}-{question['questionId']}", rng)
        codes = await asyncio.gather(*(self._update(session, one, question["questionId"]) for one in bodies))
        fresh = [code for one, code in zip(bodies, codes, strict=True) if not one["requestId"].endswith("stale")]
        if 200 not in fresh:
            self.log.problems.append(f"{session} {question['questionId']}: nobody's answer was taken: {codes}")

    async def _update(self, session: str, body: Json, question: str | None) -> int:
        """Send it until there is a definite answer."""
        while True:
            try:
                async with self.http.post(f"{SESSIONS}/{session}:update", json=body) as reply:
                    text = await reply.text()
            except _AWAY:
                await asyncio.sleep(0.1)
                continue
            if reply.status < 500:
                entry = {"session": session, "questionId": question, "body": body, "code": reply.status}
                self.log.updates.append(entry | {"requestId": body["requestId"], "reply": text, "time": time.time()})
                return reply.status
            await self._note_failure(reply.status, text)

    async def _watch(self, session: str, rng: Random) -> None:
        """A second watcher, whose connection breaks all the time."""
        while True:
            most = rng.randint(1, 30)
            status = await self._follow(session, "restless", most)
            if status in ENDED and not (status == "failed" and session in self.at_work):
                return
            await asyncio.sleep(0.3 if status else 0.05)

    async def _follow(self, session: str, watcher: str, most: int | None) -> str:
        """Read the stream to the next rest, through broken connections; the status, or empty after `most` events."""
        seen = self.log.seen.setdefault(f"{session}/{watcher}", [])
        while True:
            last = seen[-1][0] if seen else 0
            headers = {"last-event-id": str(last)} if last else {}
            try:
                async with self.http.get(f"{SESSIONS}/{session}/events:stream", headers=headers) as reply:
                    if reply.status >= 500:
                        await self._note_failure(reply.status, await reply.text())
                        continue
                    if reply.status != 200:
                        self.log.problems.append(f"{session} after {last}: {await reply.text()}")
                        return "failed"
                    async for kind, data in _server_sent(reply):
                        if kind == "done":
                            return str(data["status"])
                        seen.append((int(data["seq"]), digest_of(data["type"], data["payload"])))
                        if most is not None and (most := most - 1) <= 0:
                            return ""
            except _AWAY:
                await asyncio.sleep(0.1)

    async def _clean(self, session: str) -> None:
        """Remove what it made, so that nothing is held for it any more; again while the platform was away.

        What is kept because something else is in use goes the next time, when that was kept for the platform.
        """
        while True:
            reply = await self._insist(f"{SESSIONS}/{session}:cleanup", {"confirm": True})
            kept = [item for item in reply["resources"] if item["action"] == "kept"]
            if not kept:
                return
            if not any(words in item["reason"] for item in kept for words in _FOR_NOW):
                self.log.problems.append(f"{session}: not cleaned: {kept}")
                return
            await asyncio.sleep(0.3)

    async def _get(self, path: str) -> Json:
        while True:
            try:
                async with self.http.get(path) as reply:
                    if reply.status == 200:
                        return await reply.json()
                    await self._note_failure(reply.status, await reply.text())
            except _AWAY:
                await asyncio.sleep(0.1)

    async def _insist(self, path: str, body: Json) -> Json:
        while True:
            try:
                async with self.http.post(path, json=body) as reply:
                    if reply.status == 200:
                        return await reply.json()
                    await self._note_failure(reply.status, await reply.text())
            except _AWAY:
                await asyncio.sleep(0.1)

    async def _note_failure(self, code: int, text: str) -> None:
        """503 is an answer that says to come back; anything else is not expected here."""
        if code != 503:
            self.log.problems.append(f"HTTP {code}: {text[:300]}")
        await asyncio.sleep(0.2)


def _rivals(body: Json, question: Json, name: str, rng: Random) -> list[Json]:
    """The same answer once, or twice at once as one request or as two, or beside one for a plan that never was."""
    chance = rng.random()
    first = body | {"requestId": f"{name}-a"}
    if chance < 0.15:
        return [first, first]
    if chance < 0.3:
        return [first, body | {"requestId": f"{name}-b"}]
    if chance < 0.4 and question.get("planHash"):
        answer = {"questionId": question["questionId"], "decision": "approve", "planHash": "0" * 64}
        return [{"answer": answer, "requestId": f"{name}-stale"}, first]
    return [first]


async def _server_sent(reply: aiohttp.ClientResponse) -> AsyncIterator[tuple[str, Json]]:
    kind = ""
    async for raw in reply.content:
        line = raw.decode().rstrip("\r\n")
        if line.startswith("event: "):
            kind = line[7:]
        elif line.startswith("data: "):
            yield kind, json.loads(line[6:])
