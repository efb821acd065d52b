"""Calls billed by the token: reserved at their worst case, settled to what their answer says was used.

Refused for sure gives back; an outcome that nobody knows costs what was reserved.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable
from contextlib import aclosing
from typing import Any

from starlette.responses import Response, StreamingResponse

from gateway import audit, ledger
from gateway.ledger import Held
from gateway.outcomes import Sent, refused_for_sure, write_refusal
from gateway.store import Store
from gateway.tokens import Usage, cost_micros, price_of
from gateway.usage_stream import StreamReader, WholeReader
from pilotlight.errors import PilotlightError
from pilotlight.pricebook import PriceBook, load_planner_prices, load_prices
from pilotlight.settings import Settings

log = logging.getLogger(__name__)


def load_gateway_prices(settings: Settings) -> PriceBook:
    """The price book of the backend, with the planner's models that this installation is configured for."""
    planner = load_planner_prices(settings.planner_prices).only(settings.planner_models)
    return load_prices(settings.backend).model_copy(update={"planner": planner})


class Meter:
    """`in_flight` is the gateway's set of reservations whose call is under way; a stream is until its last byte."""

    def __init__(self, store: Store, prices: PriceBook, in_flight: set[int]) -> None:
        self._store, self._prices, self.in_flight = store, prices, in_flight
        self._tasks: set[asyncio.Task[None]] = set()

    async def watch(self, sent: Sent, response: Response) -> Response:
        """Settle by `response`, which the caller gets: at once, or when its stream ends."""
        code = response.status_code
        if code >= 300:
            await (self.give_back(sent) if refused_for_sure(code) else self.keep(sent, f"HTTP {code}"))
            return response
        if isinstance(response, StreamingResponse):
            return _Metered(self, sent, response)
        reader = WholeReader()
        reader.feed(bytes(response.body))
        await self.settle(sent, reader.usage())
        return response

    async def unless_broken(self, sent: Sent, answer: Awaitable[Response]) -> Response:
        """Await an answer; one that breaks off costs what was reserved. Raises what `answer` raises."""
        try:
            return await answer
        except PilotlightError:
            await self.keep(sent, "the answer broke off")
            raise

    async def settle(self, sent: Sent, usage: Usage | None) -> None:
        """Settle to what was used; None: the answer does not say, so at the worst case."""
        if usage is None:
            return await self.keep(sent, "the answer does not say what was used")
        actual = cost_micros(usage, price_of(sent.call, self._prices))
        reason = f"{usage.input + usage.cache_write + usage.cache_read} tokens in, {usage.output} out"
        await self._store.durable(lambda db: _settle(db, sent, actual, reason))

    async def keep(self, sent: Sent, why: str) -> None:
        """Settle at the worst case: the call may have happened."""
        held = _held(sent)
        await self._store.durable(lambda db: _settle(db, sent, held.micros, f"outcome unknown: {why}"))

    async def give_back(self, sent: Sent) -> None:
        """The call certainly did not happen."""
        await self._store.durable(lambda db: write_refusal(db, sent))

    async def finish(self, sent: Sent, usage: Usage | None) -> None:
        """Settle even while the caller's request is being cancelled."""
        task = asyncio.create_task(self._finish(sent, usage))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        await asyncio.shield(task)

    async def _finish(self, sent: Sent, usage: Usage | None) -> None:
        try:
            await self.settle(sent, usage)
        finally:
            self.in_flight.discard(_number(sent))


class _Metered(StreamingResponse):
    """A stream that passes by unchanged and is settled when it ends, breaks, or its reader goes away."""

    def __init__(self, meter: Meter, sent: Sent, inner: StreamingResponse) -> None:
        events = inner.headers.get("content-type", "").startswith("text/event-stream")
        self._reader = StreamReader() if events else WholeReader()
        self._meter, self._sent = meter, sent
        super().__init__(self._pass(inner), inner.status_code, background=inner.background)
        self.raw_headers = inner.raw_headers

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self._meter.in_flight.add(_number(self._sent))
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._meter.finish(self._sent, self._reader.usage())

    async def _pass(self, inner: StreamingResponse) -> AsyncIterator[bytes]:
        source: Any = inner.body_iterator
        async with aclosing(source):
            async for block in source:
                self._reader.feed(block)
                yield block


def _settle(db: Any, sent: Sent, actual: int, reason: str) -> None:
    held = _held(sent)
    if not ledger.settle(db, _number(sent), actual, reason) or actual <= held.micros:
        return
    # The bound that every further reservation would rest on does not hold.
    ledger.end_grant(db, held.grant)
    log.warning("%s cost %s micro-dollars, %s were reserved", sent.call.route.method, actual, held.micros)
    audit.append(
        db,
        principal=sent.principal.label,
        method=sent.call.route.method,
        resource="",
        verdict="overrun",
        rule="spend.overrun",
        detail={"grant": held.grant, "reserved": str(held.micros), "actual": str(actual), "reason": reason},
    )


def _held(sent: Sent) -> Held:
    if sent.admission.held is None:
        raise ValueError("only calls that hold money are metered")
    return sent.admission.held


def _number(sent: Sent) -> int:
    number = _held(sent).reservation
    if number is None:
        raise ValueError("only calls that hold money are metered")
    return number
