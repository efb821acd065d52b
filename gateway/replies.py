"""Reading the platform's answers: its errors as ours, its files as one stream."""

import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

from pilotlight.errors import Internal, PilotlightError, Unauthenticated, kind_of


def error_of(code: int, body: bytes) -> PilotlightError:
    """The error that a response of the platform (or of the gateway) stands for.

    The platform refusing the gateway's own key is a defect of the installation, never the caller's missing right.
    """
    try:
        found: Any = json.loads(body)
    except ValueError:
        found = {}
    inner: Any = found.get("error", found) if isinstance(found, dict) else {}
    inner = inner if isinstance(inner, dict) else {"message": str(inner)}
    message = str(inner.get("message") or f"The platform answered HTTP {code}.")
    if code == Unauthenticated.http_code:
        return Internal(f"The platform does not accept the gateway's key: {message}")
    return kind_of(inner, code)(message)


async def join_files(files: Sequence[AsyncIterator[bytes]]) -> AsyncIterator[bytes]:
    """One stream of JSONL files. The first block is awaited here, so that an early failure is still an HTTP error."""
    stream = _joined(files)
    try:
        first = await anext(stream)
    except StopAsyncIteration:
        return _chain([], stream)
    return _chain([first], stream)


async def _joined(files: Sequence[AsyncIterator[bytes]]) -> AsyncIterator[bytes]:
    last = b"\n"
    for file in files:
        if not last.endswith(b"\n"):
            yield b"\n"
        async for block in file:
            if block:
                last = block
                yield block


async def _chain(first: list[bytes], rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    for block in first:
        yield block
    async for block in rest:
        yield block
