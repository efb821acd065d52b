"""The server: an ASGI app with a script, a log of what reached it, and nothing else."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from pilotlight.scripted_model import messages
from pilotlight.scripted_model.script import Turn

Json = dict[str, Any]


class ConnectionBroken(Exception):
    """Raised inside an answer, so that the server cuts its connection; the server's log shows it."""


@dataclass(frozen=True)
class Received:
    """One request that reached the model. Header names are in lower case."""

    headers: dict[str, str]
    body: Json


class ScriptedModel:
    """Answers its turns in order, then `otherwise`; without that, with an error that says the script is over.

    `received` is the log of all requests that carried the right key and a whole body.
    """

    def __init__(self, turns: Iterable[Turn] = (), *, key: str, otherwise: Turn | None = None) -> None:
        self.turns, self.key, self.otherwise = list(turns), key, otherwise
        self.received: list[Received] = []

    def app(self) -> Starlette:
        """The ASGI app. Anything but POST /v1/messages is a 404."""
        return Starlette(routes=[Route("/v1/messages", self._answer, methods=["POST"])])

    async def _answer(self, request: Request) -> Response:
        body: Any = json.loads(await request.body())
        if _key_of(request) != self.key:
            return JSONResponse(messages.error("authentication_error", "invalid API key"), 401)
        if problem := _problem_of(request, body):
            return JSONResponse(messages.error("invalid_request_error", problem), 400)
        self.received.append(Received(dict(request.headers), body))
        turn = self._next()
        await asyncio.sleep(turn.delay_seconds)
        if turn.failure:
            return _fail(turn)
        number = len(self.received)
        if body.get("stream"):
            return StreamingResponse(_stream(turn, body, number), headers=turn.headers, media_type="text/event-stream")
        return _whole(turn, messages.whole(turn, body, number))

    def _next(self) -> Turn:
        if self.turns:
            return self.turns.pop(0)
        return self.otherwise or Turn.fail(500, "the script is over")


def _key_of(request: Request) -> str:
    """The key: a bearer token, or in the header of the API's first version."""
    return request.headers.get("x-api-key") or request.headers.get("authorization", "").removeprefix("Bearer ")


def _problem_of(request: Request, body: Any) -> str:
    if "anthropic-version" not in request.headers:
        return "anthropic-version: header is required"
    if not isinstance(body, dict):
        return "the body must be an object"
    missing = [name for name in ("model", "max_tokens", "messages") if not body.get(name)]
    return f"{missing[0]}: Field required" if missing else ""


def _fail(turn: Turn) -> Response:
    if turn.failure is None:
        raise ValueError("not a failure")
    failure = turn.failure
    retry = {} if failure.retry_after is None else {"retry-after": str(failure.retry_after)}
    return JSONResponse(messages.error(failure.type, failure.message), failure.status, turn.headers | retry)


def _whole(turn: Turn, message: Json) -> Response:
    if turn.break_after is None:
        return JSONResponse(message, headers=turn.headers)
    content = json.dumps(message).encode()
    headers = turn.headers | {"content-length": str(len(content))}
    return StreamingResponse(_cut(content[: turn.break_after]), headers=headers, media_type="application/json")


async def _cut(content: bytes) -> AsyncIterator[bytes]:
    yield content
    raise ConnectionBroken


async def _stream(turn: Turn, body: Json, number: int) -> AsyncIterator[bytes]:
    for sent, event in enumerate(messages.events(turn, body, number)):
        if sent == turn.break_after:
            raise ConnectionBroken
        await asyncio.sleep(turn.delay_seconds)
        yield event
