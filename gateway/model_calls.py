"""The planner's own model: the one way from the sandbox to a language model that is not on the platform.

The key is added here and nowhere else, the address comes from the settings and nowhere else, and what the provider
answers is passed on without its headers and without the key, should it ever repeat it.
"""

import json
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from functools import cache
from typing import Any

import httpx
from starlette.responses import JSONResponse, Response, StreamingResponse

from gateway.metering import Meter
from gateway.outcomes import Sent
from gateway.planner_request import VERSIONS, PlannerRequest
from gateway.scrubbing import Scrubber
from pilotlight.errors import Internal, Unavailable
from pilotlight.settings import Settings

_HEADERS = ("retry-after", "x-should-retry", "request-id")
_MOST = 16 << 20
"""Bytes of an answer that is not a stream."""
_TIMEOUT = httpx.Timeout(600.0, connect=10.0)
_OVERLOADED = 529
_HINT = "Check PILOTLIGHT_ANTHROPIC_URL and the network; the session can go on without a model."


class ModelCalls:
    """Sends admitted calls of the method CreatePlannerMessage. A connection lasts for one call."""

    def __init__(self, settings: Settings, meter: Meter) -> None:
        self._settings, self._meter = settings, meter

    async def answer(self, sent: Sent, version: str) -> Response:
        """Send one call and settle it by its answer.

        Raises Unavailable (the provider cannot be reached, or broke off), Internal (it does not accept our key).
        """
        content = PlannerRequest.model_validate(sent.call.body).encode()
        async with AsyncExitStack() as stack:
            client = await stack.enter_async_context(self._open())
            response = await self._send(client, content, version, sent)
            stack.push_async_callback(response.aclose)
            if response.status_code < 300 and response.headers.get("content-type", "").startswith("text/event-stream"):
                kept = stack.pop_all()
                blocks = self._stream(response, kept)
                return await self._meter.watch(sent, StreamingResponse(blocks, headers=_shown(response)))
            body = await self._read(response, sent)
        return await self._conclude(sent, response, body)

    async def _send(self, client: httpx.AsyncClient, content: bytes, version: str, sent: Sent) -> httpx.Response:
        headers = self._credential(version) | {
            "anthropic-version": version,
            "content-type": "application/json",
            "accept-encoding": "identity",
            "user-agent": "pilotlight-gateway",
        }
        request = client.build_request("POST", f"{self._base}/v1/messages", content=content, headers=headers)
        try:
            return await client.send(request, stream=True)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            await self._meter.give_back(sent)
            raise Unavailable("The planner's model cannot be reached.", hint=_HINT) from error
        except httpx.TransportError as error:
            await self._meter.keep(sent, type(error).__name__)
            raise Unavailable(f"The planner's model did not answer ({type(error).__name__}).", hint=_HINT) from error

    async def _read(self, response: httpx.Response, sent: Sent) -> bytes:
        body = bytearray()
        try:
            async for block in response.aiter_bytes():
                body += block
                if len(body) > _MOST:
                    break
        except httpx.TransportError as error:
            await self._meter.keep(sent, "the answer broke off")
            raise Unavailable("The answer of the planner's model broke off.", hint=_HINT) from error
        if len(body) > _MOST:
            await self._meter.keep(sent, "the answer is too long")
            raise Unavailable(f"The answer of the planner's model is larger than {_MOST >> 20} MiB.")
        return Scrubber(self._key).whole(bytes(body))

    async def _conclude(self, sent: Sent, response: httpx.Response, body: bytes) -> Response:
        code, error = response.status_code, _error_in(body)
        if code < 300:
            answer = Response(body, code, _shown(response) | {"content-type": "application/json"})
            return await self._meter.watch(sent, answer)
        if code == _OVERLOADED and error["type"] == "overloaded_error":
            await self._meter.give_back(sent)  # turned away at the door: nothing was computed
        else:
            await self._meter.watch(sent, Response(status_code=code))
        if code in (401, 403):
            raise Internal(
                f"The model's provider does not accept the gateway's key: {error['message']}",
                hint="Check PILOTLIGHT_ANTHROPIC_KEY.",
            )
        if code < 400:
            raise Unavailable(f"The planner's model answered with a redirect (HTTP {code}), which is never followed.")
        return JSONResponse({"type": "error", "error": error}, code, _shown(response))

    async def _stream(self, response: httpx.Response, kept: AsyncExitStack) -> AsyncIterator[bytes]:
        scrubber = Scrubber(self._key)
        async with kept:
            async for block in response.aiter_bytes():
                yield scrubber.pass_on(block)
            yield scrubber.rest()

    def _open(self) -> httpx.AsyncClient:
        # No proxy, no .netrc and no redirect: the key goes to the address of the settings, or nowhere.
        return httpx.AsyncClient(verify=_open_tls(), timeout=_TIMEOUT, trust_env=False, follow_redirects=False)

    def _credential(self, version: str) -> dict[str, str]:
        """As each version of the API documents it."""
        return {"x-api-key": self._key} if version == VERSIONS[0] else {"authorization": f"Bearer {self._key}"}

    @property
    def _key(self) -> str:
        return self._settings.anthropic_key.get_secret_value()

    @property
    def _base(self) -> str:
        return self._settings.anthropic_url.rstrip("/")


@cache
def _open_tls() -> ssl.SSLContext:
    """Loading the certificates takes longer than a handshake."""
    return httpx.create_ssl_context(trust_env=False)


def _shown(response: httpx.Response) -> dict[str, str]:
    shown = {name: response.headers[name] for name in _HEADERS if name in response.headers}
    kind = response.headers.get("content-type", "")
    return shown | ({"content-type": "text/event-stream"} if kind.startswith("text/event-stream") else {})


def _error_in(body: bytes) -> dict[str, str]:
    """Type and message of an error of the Messages API."""
    try:
        found: Any = json.loads(body)
    except ValueError:
        found = {}
    inner = found.get("error") if isinstance(found, dict) else None
    inner = inner if isinstance(inner, dict) else {}
    return {
        "type": str(inner.get("type") or "api_error")[:80],
        "message": str(inner.get("message") or "The provider gave no reason.")[:1000],
    }
