"""Reading the usage out of an answer while it passes by, whole or as server-sent events."""

import json
from typing import Any

from gateway.tokens import Usage, read_usage

_MOST = 16 << 20
"""Bytes of one answer, or of one line of a stream, beyond which its usage is taken as unknown."""


class WholeReader:
    """For an answer that is one JSON document."""

    def __init__(self) -> None:
        self._parts = bytearray()

    def feed(self, block: bytes) -> None:
        """Take the next bytes."""
        if len(self._parts) <= _MOST:
            self._parts += block

    def usage(self) -> Usage | None:
        """The usage, None when the document is not whole or says none."""
        return read_usage(_parse(bytes(self._parts)))


class StreamReader:
    """For server-sent events. Only a stream that came to its own end says what was used.

    Messages: `message_start` has the input, each `message_delta` the output so far, `message_stop` ends. Chat
    completions: one chunk has the usage, `[DONE]` ends.
    """

    def __init__(self) -> None:
        self._line = bytearray()
        self._found: dict[str, Any] = {}
        self._ended = False

    def feed(self, block: bytes) -> None:
        """Take the next bytes."""
        *lines, rest = block.split(b"\n")
        for line in lines:
            self._read(bytes(self._line + line).strip())
            self._line.clear()
        if len(self._line) <= _MOST:
            self._line += rest

    def usage(self) -> Usage | None:
        """The usage, None when the stream broke off or says none."""
        return read_usage({"usage": self._found}) if self._ended else None

    def _read(self, line: bytes) -> None:
        if not line.startswith(b"data:"):
            return
        data = line[5:].strip()
        event = _parse(data)
        if data == b"[DONE]" or (isinstance(event, dict) and event.get("type") == "message_stop"):
            self._ended = True
        elif isinstance(event, dict):
            self._note(event)

    def _note(self, event: dict[str, Any]) -> None:
        inner = event.get("message")
        holder = inner if isinstance(inner, dict) else event
        if isinstance(found := holder.get("usage"), dict):
            self._found |= {name: count for name, count in found.items() if count is not None}


def _parse(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return None
