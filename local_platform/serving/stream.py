"""The bridge from the engine thread to the event loop of a request."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence

from local_platform.serving.requests import Delta
from local_platform.serving.row import Row
from pilotlight.errors import Internal, PilotlightError


class RowStream:
    """Deltas of the sequences of one call; see `interface.Generation`."""

    def __init__(self, rows: Sequence[Row], loop: asyncio.AbstractEventLoop, wake: Callable[[], None]) -> None:
        self.loop = loop
        self._rows = rows
        self._wake = wake
        self._open = len(rows)
        self._queue: asyncio.Queue[object] = asyncio.Queue()

    def __aiter__(self) -> AsyncIterator[Delta]:
        return self

    async def __anext__(self) -> Delta:
        """The next delta; see the protocol."""
        if self._open == 0:
            raise StopAsyncIteration
        item = await self._queue.get()
        if isinstance(item, Delta):
            self._open -= item.finish_reason is not None
            return item
        self._open = 0
        if isinstance(item, PilotlightError):
            raise item
        raise Internal(f"The engine failed: {type(item).__name__}: {str(item).splitlines()[0][:200]}")

    def cancel(self) -> None:
        """See the protocol."""
        for row in self._rows:
            row.cancelled = True
        self._wake()

    def put(self, items: list[object]) -> None:
        """On the event loop only."""
        for item in items:
            self._queue.put_nowait(item)


def deliver(news: Iterable[tuple[RowStream, object]]) -> None:
    """Hand deltas or an error to their streams: one wake-up per event loop, however many rows."""
    grouped: dict[asyncio.AbstractEventLoop, dict[RowStream, list[object]]] = {}
    for stream, item in news:
        grouped.setdefault(stream.loop, {}).setdefault(stream, []).append(item)
    for loop, streams in grouped.items():
        try:
            loop.call_soon_threadsafe(_put_all, streams)
        except RuntimeError:  # the loop was closed under its requests: nobody listens any more
            for stream in streams:
                stream.cancel()


def _put_all(streams: dict[RowStream, list[object]]) -> None:
    for stream, items in streams.items():
        stream.put(items)
