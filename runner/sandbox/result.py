"""What comes out of an evaluator, read by a process that must not trust it: bounded, strict, and printable."""

import asyncio
from typing import Any

import orjson

from pilotlight.errors import InvalidArgument, ResourceExhausted

_DEEPEST = 64
_BLOCK = 1 << 16


def parse_result(text: bytes) -> Any:
    """The one JSON value in `text`. Raises InvalidArgument: no NaN or infinity, nothing after it, at most 64 levels."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        shown = to_plain(text[:60])
        raise InvalidArgument(
            f"The evaluator's result is not strict JSON: {error}. It begins {shown!r}.",
            hint="Return numbers that are finite, text, lists and objects.",
        ) from error
    level: list[Any] = [value]
    for _ in range(_DEEPEST):
        if not (level := [inner for outer in level for inner in _inside(outer)]):
            return value
    raise InvalidArgument(f"The evaluator's result is nested deeper than {_DEEPEST} levels.")


def _inside(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


async def read_bounded(stream: asyncio.StreamReader, limit: int) -> bytes:
    """All of a stream until its end. Raises ResourceExhausted as soon as there is more than `limit` bytes."""
    data = bytearray()
    while block := await stream.read(_BLOCK):
        data += block
        if len(data) > limit:
            raise ResourceExhausted(
                f"The evaluator's result has more than {limit} bytes.",
                hint="Return less, or raise PILOTLIGHT_SANDBOX_EVALUATOR_RESULT_BYTES.",
            )
    return bytes(data)


async def read_head(stream: asyncio.StreamReader, limit: int) -> bytes:
    """The first `limit` bytes of a stream; the rest is read, so that the writer does not block, and dropped."""
    data = bytearray()
    while block := await stream.read(_BLOCK):
        data += block[: limit - len(data)]
    return bytes(data)


def to_plain(text: bytes) -> str:
    """Printable text: control characters, which a terminal would obey, become U+FFFD."""
    decoded = text.decode("utf-8", "replace")
    return "".join(char if char.isprintable() or char in "\n\t" else "\ufffd" for char in decoded)
