"""The events of a session: those that exist, or all that come until it rests, each exactly once and in order.

The stream reconnects by itself with the last seq it has printed, so a restart of the server repeats and skips nothing.
"""

import json
import time
from collections.abc import Iterable, Iterator
from typing import Any

import click
import httpx

from cli.connection import Connection, refused, unreachable

_PATIENCE = 300.0
"""Seconds without any server before giving up, once there was one."""
_PAUSES = (0.2, 0.5, 1.0, 2.0, 5.0)


class Feed:
    """Iterates over events; `status` is how the session rested, once the iteration has ended."""

    def __init__(self, connection: Connection, session: str, after: int = 0) -> None:
        self.connection, self.session, self.after, self.status = connection, session, after, ""
        self._connected = False
        self._lost_since: float | None = None

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
        """Everything until the session waits or ends.

        Raises ClickException when the server was never there, or stays away for `_PATIENCE` seconds.
        """
        attempt = 0
        while not self.status:
            try:
                for event in self._read_stream():
                    attempt = 0
                    yield event
            except httpx.TransportError as error:
                self._bear(unreachable(self.connection.url, error))
            if not self.status:
                time.sleep(_PAUSES[min(attempt, len(_PAUSES) - 1)])
                attempt += 1

    def _bear(self, failure: click.ClickException) -> None:
        """Take a failure as passing, unless there never was a server or it is gone for too long."""
        self._lost_since = self._lost_since or time.monotonic()
        if not self._connected or time.monotonic() - self._lost_since > _PATIENCE:
            raise failure

    def _read_stream(self) -> Iterator[dict[str, Any]]:
        path = self.connection.name(self.session, "sessions") + "/events:stream"
        with (
            self.connection.stream(path) as client,
            client.stream("GET", path, params={"afterSeq": self.after}) as response,
        ):
            if response.status_code in (502, 503, 504):
                self._bear(refused(response))
                return
            if response.is_error:
                raise refused(response)
            self._connected, self._lost_since = True, None
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


def calm(events: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The events for reading: of a job's progress only new states, new eval losses, and each quarter of the way."""
    told: dict[str, tuple[Any, ...]] = {}
    for event in events:
        if event["type"] == "job":
            payload = event["payload"]
            news = (payload.get("state"), payload.get("evalLoss"), min(int(payload.get("percent") or 0) // 25, 3))
            if told.get(payload.get("job")) == news:
                continue
            told[payload.get("job")] = news
        yield event


def footer(status: str) -> str:
    """The last line of a stream [A50]."""
    return f"[done] session status: {status}"
