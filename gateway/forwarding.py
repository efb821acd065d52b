"""The gateway: every call of a session or a key to the platform passes `Gateway.forward`, and nothing else does.

decide -> admit (effect key, grant, reservation, audit) -> send what was parsed -> write down the outcome -> answer.
"""

import asyncio
import json
import logging
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode
from weakref import WeakValueDictionary

from sqlalchemy import Connection, Engine
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from gateway import effects, fence, planner_request, sources, upstream
from gateway.admission import MAX_KEY, Admission, admit, record, refusal, turn_is_over
from gateway.adoption import adopt
from gateway.client import Answer, NotSent, PlatformClient
from gateway.fence import Fence
from gateway.incoming import Incoming, drain, once, read_body, upload_parts
from gateway.metering import Meter, load_gateway_prices
from gateway.model_calls import ModelCalls
from gateway.outcomes import Sent, refused_for_sure, still_asleep, write_refusal, write_success
from gateway.principal import Principal
from gateway.record import RpcListener, RpcRecord
from gateway.replies import error_of, join_files
from gateway.store import Store
from gateway.uncovered import Uncovered
from gateway.upstream import Upstream
from manifest.decide import decide
from manifest.facts import Call, RequestFacts, Verdict
from pilotlight.crashpoints import Point, reach
from pilotlight.errors import Internal, InvalidArgument, PermissionDenied, PilotlightError, Unavailable
from pilotlight.money import from_micros
from pilotlight.settings import Settings

log = logging.getLogger(__name__)
_FROZEN_SECONDS = 1.0
DOWNLOADS = {
    "DownloadDataset": (":getDownloadEndpoint", "application/jsonl"),
    "DownloadEvaluatorSource": (":getSourceCodeSignedUrl", "application/gzip"),
}
"""Methods that the gateway answers with what signed URLs lead to: where to ask for them, and what is behind them."""


class Gateway:
    """`client` reaches the platform and stays its owner's to close; the platform's key is added here, from settings."""

    def __init__(
        self,
        engine: Engine,
        settings: Settings,
        client: PlatformClient,
        listener: RpcListener | None = None,
        *,
        is_running: Fence,
    ) -> None:
        self.settings = settings
        self._is_running = is_running
        self.store = Store(engine)
        self.platform = Upstream(client, settings)
        self.prices = load_gateway_prices(settings)
        self.listener = listener
        self.in_flight: set[int] = set()
        """Reservations whose call is being sent right now."""
        self.meter = Meter(self.store, self.prices, self.in_flight)
        self.model_calls = ModelCalls(settings, self.meter)
        self._locks: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()

    async def forward(self, principal: Principal, request: Request) -> Response:
        """Decide, forward and answer one HTTP request. Refusals are answers too; only defects raise."""
        scope = request.scope
        facts = RequestFacts(scope["method"], scope["raw_path"], scope["query_string"], scope["headers"])
        try:
            return await self._handle(principal, Incoming(facts, request.stream()))
        except PilotlightError as error:
            return JSONResponse(error.to_body(), error.http_code)
        except ClientDisconnect:
            return JSONResponse(Unavailable("The caller went away in the middle of its body.").to_body(), 503)

    async def call(
        self,
        principal: Principal,
        verb: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """The same for code of the control process: one JSON call on behalf of `principal`, checked like any other.

        Raises the PilotlightError of a refusal, ours or the platform's.
        """
        content = b"" if body is None else json.dumps(body).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
        facts = RequestFacts(verb, path.encode(), urlencode(query or {}).encode(), headers if body is not None else ())
        response = await self._handle(principal, Incoming(facts, once(content)))
        blocks = [block async for block in response.body_iterator] if isinstance(response, StreamingResponse) else []
        raw = b"".join(bytes(block, "utf-8") if isinstance(block, str) else bytes(block) for block in blocks)
        raw = raw or bytes(response.body if not isinstance(response, StreamingResponse) else b"")
        if response.status_code >= 400:
            raise error_of(response.status_code, raw)
        return json.loads(raw) if raw else {}

    def created_by(self, session: str) -> list[str]:
        """Full names of all that a session created, oldest first."""
        return self.store.created_by(session)

    def close(self) -> None:
        """Finish pending writes; the gateway takes no calls afterwards."""
        self.store.close()

    async def _handle(self, principal: Principal, incoming: Incoming) -> Response:
        verdict = decide(incoming.facts, principal.caller, self.store.owner_of)
        if verdict.call is not None and verdict.call.route.body in ("json", "empty"):
            body = await read_body(incoming, verdict.call.route.action)
            verdict = decide(replace(incoming.facts, body=body), principal.caller, self.store.owner_of)
            verdict = planner_request.narrow(verdict, incoming.facts.headers)
        if verdict.call is None:
            raise await self._deny(principal, verdict, incoming)
        key = _effect_key(principal, verdict, incoming)
        if key is None:
            return await self._admit(principal, verdict, verdict.call, incoming, None)
        scope = (effects.scope_of(principal), key)
        lock = self._locks.setdefault(scope, asyncio.Lock())
        async with lock:
            return await self._admit(principal, verdict, verdict.call, incoming, key)

    async def _deny(self, principal: Principal, verdict: Verdict, incoming: Incoming) -> PilotlightError:
        kind = InvalidArgument if verdict.status == "INVALID_ARGUMENT" else PermissionDenied
        error = refusal(kind, verdict.method, verdict.rule, verdict.reason)
        request = f"{incoming.facts.verb[:20]} {incoming.facts.raw_path[:300].decode('latin-1')}"
        await self.store.quick(
            lambda db: record(db, principal, verdict, error, verdict.rule, {"request": ascii(request)})
        )
        await self._tell(principal, verdict, verdict.rule, verdict.reason, Admission(error=error), error.http_code)
        await drain(incoming)
        return error

    async def _admit(
        self, principal: Principal, verdict: Verdict, call: Call, incoming: Incoming, key: str | None
    ) -> Response:
        write, started = self.store.durable if key or verdict.kind == "spend" else self.store.quick, time.monotonic()
        admission = await write(lambda db: admit(db, principal, verdict, call, key, self.prices, self._is_running))
        reach(Point.CONTROL_ADMIT_COMMITTED)
        if admission.error is not None:
            code = admission.error.http_code
            if admission.rule != fence.RULE:  # the session's log belongs to another turn by now
                await self._tell(principal, verdict, admission.rule, admission.error.message, admission, code)
            await drain(incoming)
            raise admission.error
        if admission.effect is not None and admission.effect.state == "done":
            await drain(incoming)
            await self._tell(principal, verdict, "allowed", "", admission, admission.effect.code)
            return Response(admission.effect.response, admission.effect.code, media_type="application/json")
        number = admission.held.reservation if admission.held else None
        sent = Sent(principal, call, key, admission)
        if admission.concluded:
            await drain(incoming)
            return await self._adopt(sent, verdict)
        if time.monotonic() - started > _FROZEN_SECONDS:
            self._check_turn(sent)
        if number is None:
            return await self._send(sent, verdict, incoming)
        self.in_flight.add(number)
        try:
            return await self._send(sent, verdict, incoming)
        finally:
            self.in_flight.discard(number)

    async def _send(self, sent: Sent, verdict: Verdict, incoming: Incoming) -> Response:
        if sent.call.route.method == planner_request.METHOD:
            return await self._ask_model(sent, verdict, incoming)
        if sent.call.route.method in DOWNLOADS:
            return await self._download(sent, verdict)
        try:
            response = await self._forward(sent.call, incoming)
        except NotSent:
            if not sent.again:
                await self._write_refusal(sent)
            raise
        if sent.key is None and sent.call.route.action != "create":
            await self._tell(sent.principal, verdict, "allowed", "", sent.admission, response.status_code)
            if sent.metered:
                return await self.meter.watch(sent, await self.meter.unless_broken(sent, upstream.relay(response)))
            if response.status_code >= 400 and sent.admission.held:
                return await self._relay_refusal(sent, response)
            return await upstream.relay(response)
        return await self._conclude(sent, verdict, response)

    async def _forward(self, call: Call, incoming: Incoming) -> Answer:
        if call.route.method == sources.UPLOAD:
            return await sources.upload(self.platform, call)
        return await self.platform.send(call, *upload_parts(call, incoming))

    async def _relay_refusal(self, sent: Sent, response: Answer) -> Response:
        """Pass an error on; only what certainly did not happen is given back."""
        body = await response.read()
        if refused_for_sure(response.status_code) or still_asleep(response.status_code, body):
            await self._write_refusal(sent)
        return Response(body, response.status_code, upstream.visible_headers(response))

    async def _conclude(self, sent: Sent, verdict: Verdict, response: Answer) -> Response:
        """The end of a call that creates something: its answer is read, stored, and then given."""
        body, code = await response.read(), response.status_code
        reach(Point.CONTROL_CALL_ANSWERED)
        headers = upstream.visible_headers(response)
        if code == 409 and sent.again and sent.call.route.action == "create":
            return await self._adopt(sent, verdict)
        if code < 300:
            await self._write_success(sent, code, body)
        elif refused_for_sure(code) and not sent.again:
            await self._write_refusal(sent)
        await self._tell(sent.principal, verdict, "allowed", "", sent.admission, code)
        headers.pop("content-length", None)
        return Response(body, code, headers)

    async def _adopt(self, sent: Sent, verdict: Verdict) -> Response:
        """The answer of an earlier try, read from what it created: nothing is sent again."""
        body = await adopt(sent, self.platform, self.store)
        await self._write_success(sent, 200, body)
        await self._tell(sent.principal, verdict, "allowed", "", sent.admission, 200)
        return Response(body, 200, media_type="application/json")

    async def _write_success(self, sent: Sent, code: int, body: bytes) -> None:
        await self.store.durable(lambda db: write_success(db, sent, code, body))
        reach(Point.CONTROL_OUTCOME_COMMITTED)

    async def _ask_model(self, sent: Sent, verdict: Verdict, incoming: Incoming) -> Response:
        """CreatePlannerMessage: the planner's own model, whose key only the gateway has."""
        response = await self.model_calls.answer(sent, planner_request.version_of(incoming.facts.headers))
        await self._tell(sent.principal, verdict, "allowed", "", sent.admission, response.status_code)
        return response

    async def _download(self, sent: Sent, verdict: Verdict) -> Response:
        """The sandbox has no network, so the gateway follows the signed URLs [A78]."""
        endpoint, media_type = DOWNLOADS[sent.call.route.method]
        response = await self.platform.get(upstream.path_of(sent.call).partition(":")[0] + endpoint)
        await self._tell(sent.principal, verdict, "allowed", "", sent.admission, response.status_code)
        if response.status_code != 200:
            raise error_of(response.status_code, response.content)
        urls = response.json().get("filenameToSignedUrls")
        if not isinstance(urls, dict) or not urls:
            raise Internal(f"The platform named no files for {sent.call.resource}.")
        files = [self.platform.fetch_signed(urls[name]) for name in sorted(urls)]
        return StreamingResponse(await join_files(files), media_type=media_type)

    async def _write_refusal(self, sent: Sent) -> None:
        if sent.key:
            await self.store.durable(lambda db: self._write_keyed_refusal(db, sent))
        else:
            await self.store.quick(lambda db: write_refusal(db, sent))

    def _write_keyed_refusal(self, db: Connection, sent: Sent) -> None:
        """A turn that was taken over gives nothing back: its successor sends under the same key and reservation."""
        try:
            fence.check(db, sent.principal, self._is_running)
        except Uncovered as over:
            log.warning("%s of %s: %s", sent.call.route.method, sent.principal.label, over)
            return
        write_refusal(db, sent)

    def _check_turn(self, sent: Sent) -> None:
        """This process stood still between letting a call in and sending it: others may have gone on without it."""
        try:
            self.store.read(lambda db: fence.check(db, sent.principal, self._is_running))
        except Uncovered as over:
            raise turn_is_over(sent.call.route.method, over) from over

    async def _tell(
        self, principal: Principal, verdict: Verdict, rule: str, reason: str, admission: Admission, code: int
    ) -> None:
        if self.listener is None or principal.session is None:
            return
        held = admission.held
        await self.listener(
            RpcRecord(
                session=principal.session,
                principal=principal.label,
                method=verdict.method,
                resource=verdict.resource,
                kind=verdict.kind,
                allowed=admission.error is None,
                rule=rule,
                reason=reason,
                cost=from_micros(held.micros if held else 0),
                code=code,
                replayed=admission.effect is not None and admission.effect.state == "done",
            )
        )


def _effect_key(principal: Principal, verdict: Verdict, incoming: Incoming) -> str | None:
    key = incoming.header(b"idempotency-key")
    if principal.session is None or verdict.kind not in ("create", "spend") or not key:
        return None
    if len(key) > MAX_KEY or not key.isascii() or not key.isprintable():
        raise InvalidArgument(f"An Idempotency-Key has at most {MAX_KEY} printable ASCII characters.")
    return key
