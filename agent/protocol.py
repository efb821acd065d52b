"""HTTP/1.1 as the control process speaks it: nobody holds a connection by being slow, silent, endless or many.

uvicorn has no limit on how long a request head may take or how large it may be. Here a head must be complete in time,
a body must go on arriving, an answer must be taken, and when a server is full the peer it has waited for longest goes.
What the peer waits for (an answer, an event stream) is never cut.
"""

import asyncio
import json
from typing import Any, ClassVar, NamedTuple, NoReturn

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from pilotlight.errors import InvalidArgument, PilotlightError, Unavailable
from pilotlight.settings import Settings

MAX_HEAD = 64 << 10
"""Bytes of a request line with its headers."""
MIN_PROGRESS = 1024
"""Bytes of a body that must arrive in each `stall_seconds`: one byte now and then is not progress."""
_UNREAD = 5
"""An answer may wait this many times longer for its reader: people pause a pager, programs work off what they read."""
_LINGER_SECONDS = 1.0


class Limits(NamedTuple):
    """What one server grants its peers."""

    head_seconds: float
    stall_seconds: float
    connections: int


class _Fault(Exception):
    """Leaves the parser's callback; the parser's error then becomes this answer."""

    def __init__(self, code: int, error: PilotlightError) -> None:
        super().__init__(error.message)
        self.code, self.error = code, error


class GuardedProtocol(HttpToolsProtocol):
    """One connection. Use the classes that `guard` makes: they carry limits."""

    limits: ClassVar[Limits]

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._phase = "idle"
        """What arrives: `idle` (between requests), `head` or `body`."""
        self._since = self.loop.time()
        self._unparsed = 0
        """Bytes taken since the last that belonged to a complete head or to a body."""
        self._progress = 0
        self._fault: _Fault | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Start the clock of the first head, and make room."""
        super().connection_made(transport)
        self._start_timer(self.limits.head_seconds, self._end_head)
        if len(self.connections) > self.limits.connections:
            self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop all clocks."""
        self._stop_timer()
        self.resume_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Feed the parser; what it swallows without a result is limited."""
        if self.transport.is_closing():
            return
        self._unparsed += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._unparsed > MAX_HEAD:
            self._answer(_head_too_large())
        elif self._waits and self._timer is None:
            self._start_timer(self.limits.head_seconds, self._end_head)

    def on_message_begin(self) -> None:
        """A head begins; `data_received` sees to its clock."""
        super().on_message_begin()
        self._phase = "head"

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header. No trailers: they would join the headers that were already decided on."""
        if self._phase != "head":
            self._raise(_Fault(400, InvalidArgument("Trailers are not accepted.")))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Begin the request, unless its head is too large."""
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > MAX_HEAD:
            self._raise(_head_too_large())
        if b"#" in self.url:
            self._raise(_Fault(400, InvalidArgument("A request target has no fragment.")))
        self._phase, self._unparsed, self._progress = "body", 0, 0
        self._start_timer(self.limits.stall_seconds, self._check_body)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Note the progress."""
        self._unparsed = 0
        self._progress += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is here: from now on the peer waits for us."""
        self._phase, self._unparsed = "idle", 0
        self._stop_timer()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Note since when the connection is idle."""
        self._since = self.loop.time()
        super().on_response_complete()

    def pause_writing(self) -> None:
        """The peer does not take its answer: it gets a while."""
        super().pause_writing()
        self._write_timer = self.loop.call_later(_UNREAD * self.limits.stall_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """It does."""
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """What the parser refuses, as a google.rpc error."""
        self._answer(self._fault or _Fault(400, InvalidArgument(msg)))

    @property
    def _waits(self) -> bool:
        """Whether the next move is the peer's."""
        if self._phase == "body":
            return not self.flow.read_paused
        return not self._busy

    @property
    def _busy(self) -> bool:
        """Whether a request has begun that is not answered in full; there is no `cycle` before the first."""
        return bool(self.cycle) and not self.cycle.response_complete

    def _make_room(self) -> None:
        peers = [peer for peer in self.connections if isinstance(peer, GuardedProtocol) and peer is not self]
        waiting = [peer for peer in peers if peer._waits]
        if waiting:
            oldest = min(waiting, key=lambda peer: (peer._phase == "body", peer._since))
            # at once: the loop reports the loss later, and until then the next one would choose it again
            self.connections.discard(oldest)
            oldest.transport.abort()
        else:
            self._answer(_Fault(503, Unavailable("The server has no connection left.", hint="Try again.")))

    def _end_head(self) -> None:
        self._timer = None
        if self._phase == "head" and self._waits:
            text = f"The request head was not complete within {self.limits.head_seconds:g} seconds."
            self._answer(_Fault(408, Unavailable(text)))
        else:
            self.transport.abort()

    def _check_body(self) -> None:
        self._timer = None
        if self._waits and self._progress < MIN_PROGRESS:
            text = (
                f"The body stopped arriving: less than {MIN_PROGRESS} bytes in {self.limits.stall_seconds:g} seconds."
            )
            self._answer(_Fault(408, Unavailable(text)))
            return
        self._progress = 0
        self._start_timer(self.limits.stall_seconds, self._check_body)

    def _raise(self, fault: _Fault) -> NoReturn:
        self._fault = fault
        raise fault

    def _answer(self, fault: _Fault) -> None:
        """Say what was wrong, unless it would be read as the answer to another request, and close."""
        self._stop_timer()
        busy = self._busy
        unanswered = self._phase == "body" and not self.cycle.response_started and not self.pipeline
        if not busy or unanswered:
            self.transport.write(_render(fault))
        if busy:
            # the application must not answer as well
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.close()
        self.loop.call_later(_LINGER_SECONDS, self.transport.abort)

    def _start_timer(self, seconds: float, then: Any) -> None:
        self._stop_timer()
        self._since = self.loop.time()
        self._timer = self.loop.call_later(seconds, then)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def guard(settings: Settings, connections: int) -> type[GuardedProtocol]:
    """The protocol class of one server, for `uvicorn.Config(http=...)`."""
    limits = Limits(settings.head_seconds, settings.stall_seconds, connections)
    return type("GuardedProtocol", (GuardedProtocol,), {"limits": limits})


def _head_too_large() -> _Fault:
    return _Fault(431, InvalidArgument(f"The request head is larger than {MAX_HEAD >> 10} KiB."))


def _render(fault: _Fault) -> bytes:
    body = fault.error.to_body()
    body["error"]["code"] = fault.code
    body["error"]["details"] = [
        {
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": "http",
            "domain": "pilotlight.protocol",
            "metadata": {"rule": "http"},
        }
    ]
    raw = json.dumps(body).encode()
    head = b"content-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(raw)
    return STATUS_LINE[fault.code] + head + raw
