"""The events of a session: those that exist, or all that come until it rests, each exactly once and in order.

The stream reconnects by itself with the last seq it has printed, so a restart of the server repeats and skips nothing.
"""

import time
from collections.abc import Iterable, Iterator
from typing import Any

import click
import httpx

from cli.connection import Connection, Unreachable, refused, unreachable
from cli.frames import read_frames

_PATIENCE, _FIRST_PATIENCE = 300.0, 10.0
"""Seconds without any server before giving up; where there never was one, it is soon taken for a wrong address."""
_PAUSES = (0.2, 0.5, 1.0, 2.0, 5.0)
_AWAY = (502, 503, 504)
"""What a proxy says while the server behind it is away, and a server that is full or stopping."""
_SILENT_SECONDS = 3.0
_MOST_BROKEN = 5


class _Broken(Exception):
    """The stream cannot be right: a seq is left out, or it is no event stream."""


class Feed:
    """Iterates over events; `status` is how the session rested, once the iteration has ended."""

    def __init__(self, connection: Connection, session: str, after: int = 0) -> None:
        self.connection, self.session, self.after, self.status = connection, session, after, ""
        self._connected = False
        self._lost_since: float | None = None
        self._told = False
        self._broken = 0

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

        Raises ClickException when the server refuses, was never there, or stays away for `_PATIENCE` seconds.
        """
        attempt = 0
        while not self.status:
            before = self.after
            try:
                yield from self._read_stream()
            except httpx.TransportError as error:
                self._bear(unreachable(self.connection.url, error))
            except Unreachable as error:
                self._bear(error)
            except (_Broken, ValueError) as error:
                self._count_broken(error)
            if not self.status:
                attempt = 0 if self.after > before else attempt + 1
                time.sleep(_PAUSES[min(attempt, len(_PAUSES) - 1)])

    def _bear(self, failure: click.ClickException) -> None:
        """Take a failure as passing, for a while; say so when it lasts."""
        now = time.monotonic()
        self._lost_since = self._lost_since or now
        if now - self._lost_since > (_PATIENCE if self._connected else _FIRST_PATIENCE):
            raise failure
        if not self._told and now - self._lost_since > _SILENT_SECONDS:
            self._told = True
            click.echo(f"The server is away ({failure.message.split('. ')[0]}). Still trying.", err=True)

    def _count_broken(self, error: Exception) -> None:
        """What a proxy garbled once comes right the next time; what a server has lost does not."""
        self._broken += 1
        if self._broken >= _MOST_BROKEN:
            raise click.ClickException(
                f"{self.connection.url} sent no usable event stream, {self._broken} times: {error}. Is that the agent, "
                "and is there a proxy in between? Without --wait, `session events` reads pages instead."
            ) from error

    def _read_stream(self) -> Iterator[dict[str, Any]]:
        path = self.connection.name(self.session, "sessions") + "/events:stream"
        with (
            self.connection.stream(path) as client,
            client.stream("GET", path, params={"afterSeq": self.after}) as response,
        ):
            if response.status_code in _AWAY:
                self._bear(refused(response))
                return
            if response.is_error:
                raise refused(response)
            if not response.headers.get("content-type", "").startswith("text/event-stream"):
                raise _Broken("its content type is another one")
            self._connected, self._lost_since, self._told = True, None, False
            for frame in read_frames(response.iter_lines()):
                if frame.kind == "done":
                    self.status = str(frame.data["status"])
                    return
                if frame.id and (event := self._next(int(frame.id), frame.data)):
                    yield event

    def _next(self, seq: int, event: dict[str, Any]) -> dict[str, Any] | None:
        """The event if it is the next one; None for one that came before."""
        if seq <= self.after:
            return None
        if seq != self.after + 1:
            raise _Broken(f"event {seq} came after event {self.after}")
        self.after, self._broken = seq, 0
        return event


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
