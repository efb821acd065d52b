"""The platform behind the gateway: requests rebuilt from parsed parts, the credential added here and nowhere else."""

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any
from urllib.parse import quote, urlencode

import httpx
from starlette.background import BackgroundTask
from starlette.responses import Response, StreamingResponse

from manifest.facts import Call
from pilotlight.errors import Internal, Unavailable
from pilotlight.settings import Settings

RESPONSE_HEADERS = ("content-type", "content-disposition", "content-encoding", "retry-after", "x-should-retry")
"""All that a caller sees of the platform's headers; the rest may name internals or carry credentials."""
_SHORT = 64 << 10
_TIMEOUT = httpx.Timeout(600.0, connect=10.0)


class NotSent(Unavailable):
    """The platform could not be reached: the call certainly did not happen."""


class Upstream:
    """One HTTP client to the platform; `client` has the platform's base URL and no credentials."""

    def __init__(self, client: httpx.AsyncClient, settings: Settings) -> None:
        self._client, self._settings = client, settings

    async def send(self, call: Call, body: AsyncIterator[bytes] | None, headers: Mapping[str, str]) -> httpx.Response:
        """Send a parsed call; the response's body is still unread.

        `body` and `headers` are for uploads, which are streamed. Raises NotSent, Unavailable (outcome unknown).
        """
        content: bytes | AsyncIterator[bytes] | None = body
        sent = dict(headers)
        if call.route.body in ("json", "empty"):
            content = json.dumps(call.body, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
            sent = {"content-type": "application/json"}
        return await self._send(call.route.verb, path_of(call), content, sent | self._credentials())

    async def get(self, path: str) -> httpx.Response:
        """Read one resource with the gateway's own right; the body is read. Raises NotSent, Unavailable."""
        response = await self._send("GET", path, None, self._credentials())
        return await _read(response)

    async def post(self, path: str) -> httpx.Response:
        """Call a custom verb with an empty body with the gateway's own right. Raises NotSent, Unavailable."""
        response = await self._send("POST", path, b"{}", self._credentials() | {"content-type": "application/json"})
        return await _read(response)

    async def delete(self, path: str) -> httpx.Response:
        """Delete one resource with the gateway's own right. Raises NotSent, Unavailable."""
        return await _read(await self._send("DELETE", path, None, self._credentials()))

    async def fetch_signed(self, url: str) -> AsyncIterator[bytes]:
        """The bytes behind a signed URL. The signature is the credential: no key is sent. Raises Unavailable."""
        if not url.startswith(("http://", "https://", "/")):
            raise Internal("The platform returned a signed URL that is not HTTP.")
        response = await self._send("GET", url, None, {"accept-encoding": "identity"})
        try:
            if response.status_code != 200:
                raise Unavailable(f"The platform refused a signed download with HTTP {response.status_code}.")
            async for block in response.aiter_bytes():
                yield block
        finally:
            await response.aclose()

    async def _send(self, verb: str, path: str, content: Any, headers: Mapping[str, str]) -> httpx.Response:
        request = self._client.build_request(verb, path, content=content, headers=dict(headers), timeout=_TIMEOUT)
        try:
            return await self._client.send(request, stream=True)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise NotSent("The platform cannot be reached.", hint="Is the local platform running?") from error
        except httpx.TransportError as error:
            raise Unavailable(f"The platform did not answer ({type(error).__name__}).") from error

    def _credentials(self) -> dict[str, str]:
        key = self._settings.platform_key.get_secret_value()
        return {"authorization": f"Bearer {key}", "accept-encoding": "identity", "user-agent": "pilotlight-gateway"}


def path_of(call: Call) -> str:
    """Path and query, written anew from the parsed call."""
    values = {name: quote(value, safe="-_.") for name, value in call.params.items()}
    path = call.route.path.format(**values) if values else call.route.path
    return f"{path}?{urlencode(call.query, quote_via=quote)}" if call.query else path


async def relay(response: httpx.Response) -> Response:
    """Pass a response on: a short one of known length at once, anything else as it arrives."""
    length = response.headers.get("content-length", "")
    if length.isdigit() and int(length) <= _SHORT and "content-encoding" not in response.headers:
        return Response(await read(response), response.status_code, visible_headers(response))
    return StreamingResponse(
        _blocks(response),
        status_code=response.status_code,
        headers=visible_headers(response),
        background=BackgroundTask(response.aclose),
    )


async def read(response: httpx.Response) -> bytes:
    """The whole body. Raises Unavailable when it breaks off: the outcome is then unknown."""
    return (await _read(response)).content


def visible_headers(response: httpx.Response) -> dict[str, str]:
    """The headers of the platform's response that a caller may see."""
    shown = {name: response.headers[name] for name in RESPONSE_HEADERS if name in response.headers}
    if "content-length" in response.headers:
        shown["content-length"] = response.headers["content-length"]
    return shown


async def _read(response: httpx.Response) -> httpx.Response:
    try:
        await response.aread()
    except httpx.TransportError as error:
        raise Unavailable(f"The platform's answer broke off ({type(error).__name__}).") from error
    finally:
        await response.aclose()
    return response


async def _blocks(response: httpx.Response) -> AsyncIterator[bytes]:
    try:
        async for block in response.aiter_raw():
            yield block
    finally:
        await response.aclose()
