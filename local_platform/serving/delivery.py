"""Sending a generation to an HTTP client, and noticing when the client is gone."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

from fastapi import Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.types import Receive, Scope, Send

from local_platform.serving.interface import Generation
from local_platform.serving.refusals import error_body
from local_platform.serving.requests import Delta
from local_platform.serving.responses import Shaper
from pilotlight.errors import PilotlightError

_CLIENT_GONE = 499
_log = logging.getLogger(__name__)


async def respond_whole(request: Request, generation: Generation, shaper: Shaper) -> Response:
    """Wait for all choices; a client that hangs up frees their slots. Raises what the engine raises."""
    collecting = asyncio.ensure_future(_collect(generation))
    watching = asyncio.ensure_future(_hang_up(request))
    try:
        await asyncio.wait({collecting, watching}, return_when=asyncio.FIRST_COMPLETED)
        if not collecting.done():
            return Response(status_code=_CLIENT_GONE)
        body = shaper.whole(collecting.result())
        return JSONResponse(body, headers=shaper.headers())
    finally:
        generation.cancel()
        collecting.cancel()
        watching.cancel()


def respond_stream(generation: Generation, shaper: Shaper, choices: int, *, usage_chunk: bool) -> Response:
    """Server-sent events: chunks, then `[DONE]`; an error half-way is an event of its own."""
    return _GenerationResponse(generation, _events(generation, shaper, choices, usage_chunk))


class _GenerationResponse(StreamingResponse):
    """Cancels its generation however the response ends, also when it never began."""

    def __init__(self, generation: Generation, events: AsyncIterator[str]) -> None:
        super().__init__(events, media_type="text/event-stream", headers={"Cache-Control": "no-cache"})
        self._generation = generation

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._generation.cancel()


async def _events(generation: Generation, shaper: Shaper, choices: int, usage_chunk: bool) -> AsyncIterator[str]:
    try:
        async for delta in generation:
            choices -= delta.finish_reason is not None
            yield _event(shaper.chunk(delta, last=choices == 0))
    except PilotlightError as error:
        _log.warning("A stream failed half-way: %s", error)
        yield _event(error_body(error))
        return
    if usage_chunk:
        yield _event(shaper.usage_chunk())
    yield "data: [DONE]\n\n"


def _event(body: dict[str, Any]) -> str:
    return f"data: {json.dumps(body, ensure_ascii=False, separators=(',', ':'))}\n\n"


async def _collect(generation: Generation) -> list[Delta]:
    found: dict[int, Delta] = {}
    async for delta in generation:
        if delta.index in found:
            found[delta.index].absorb(delta)
        else:
            found[delta.index] = delta
    return list(found.values())


async def _hang_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
