"""The events of a session: those that exist, or all that come until it rests, each exactly once and in order.

The stream reconnects by itself with the last seq it has printed, so a restart of the server repeats and skips nothing.
"""

import json
import time
from collections.abc import Iterator
from typing import Any

import httpx

from cli.connection import Connection, refused, unreachable

_PATIENCE = 300.0
"""Seconds without any server before giving up; progress resets it."""
_PAUSES = (0.2, 0.5, 1.0, 2.0, 5.0)


class Feed:
    """Iterates over events; `status` is how the session rested, once the iteration has ended."""

    def __init__(self, connection: Connection, session: str, after: int = 0) -> None:
        self.connection, self.session, self.after, self.status = connection, session, after, ""

    def existing(self) -> Iterator[dict[str, Any]]:
        """What is in the log now."""
        while True:
            path = self.connection.name(self.session, "sessions") + "/events"
            page = self.connection.get(path, afterSeq=self.after, pageSize=500)
            self.status = page["status"]
            if not page["events"]:
                return
            for event in page["events"]:
                self.after = int(event["seq"])
                yield event

    def follow(self) -> Iterator[dict[str, Any]]:
        """Everything until the session waits or ends. Raises ClickException when the server stays away."""
        deadline, attempt = time.monotonic() + _PATIENCE, 0
        while not self.status:
            try:
                for event in self._read_stream():
                    deadline, attempt = time.monotonic() + _PATIENCE, 0
                    yield event
            except httpx.TransportError as error:
                if time.monotonic() > deadline or (attempt == 0 and self.after == 0 and _never_reached(error)):
                    raise unreachable(self.connection.url, error) from error
            if not self.status:
                time.sleep(_PAUSES[min(attempt, len(_PAUSES) - 1)])
                attempt += 1

    def _read_stream(self) -> Iterator[dict[str, Any]]:
        path = self.connection.name(self.session, "sessions") + "/events:stream"
        with (
            self.connection.stream(path) as client,
            client.stream("GET", path, params={"afterSeq": self.after}) as response,
        ):
            if response.status_code in (502, 503, 504):
                return
            if response.is_error:
                raise refused(response)
            kind = ""
            for line in response.iter_lines():
                if line.startswith("event:"):
                    kind = line[6:].strip()
                elif line.startswith("data:"):
                    data = json.loads(line[5:])
                    if kind == "done":
                        self.status = data["status"]
                        return
                    if (seq := int(data["seq"])) > self.after:
                        self.after = seq
                        yield data


def _never_reached(error: httpx.TransportError) -> bool:
    return isinstance(error, httpx.ConnectError)


def footer(status: str) -> str:
    """The last line of a stream [A50]."""
    return f"[done] session status: {status}"
