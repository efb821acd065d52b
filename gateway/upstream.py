"""The platform behind the gateway: requests rebuilt from parsed parts, the credential added here and nowhere else."""

import json
import re
from collections.abc import AsyncIterator, Mapping
from urllib.parse import quote, urlencode

from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from gateway.client import Answer, PlatformClient
from manifest.facts import Call
from pilotlight.errors import Internal, Unavailable
from pilotlight.settings import Settings

RESPONSE_HEADERS = ("content-type", "content-disposition", "content-encoding", "retry-after", "x-should-retry")
"""All that a caller sees of the platform's headers; the rest may name internals or carry credentials."""
_SHORT = 64 << 10
_SIGNED = re.compile(r"(?:https?:/)?/[!-~]+\Z")
_JSON = {"content-type": "application/json"}


class Upstream:
    """What the gateway asks of the platform, with the platform key of `settings`."""

    def __init__(self, client: PlatformClient, settings: Settings) -> None:
        self._client = client
        self._credentials = {
            "authorization": f"Bearer {settings.platform_key.get_secret_value()}",
            "accept": "*/*",
            "accept-encoding": "identity",
            "user-agent": "pilotlight-gateway",
        }

    async def send(self, call: Call, body: AsyncIterator[bytes] | None, headers: Mapping[str, str]) -> Answer:
        """Send a parsed call; the answer's body is still unread.

        `body` and `headers` are for uploads, which are streamed. Raises NotSent, Unavailable (outcome unknown).
        """
        if call.route.body in ("json", "empty"):
            content = json.dumps(call.body, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
            return await self._send(call.route.verb, path_of(call), content, _JSON)
        return await self._send(call.route.verb, path_of(call), body, headers)

    async def get(self, path: str) -> Answer:
        """Read one resource with the gateway's own right; the body is read. Raises NotSent, Unavailable."""
        return await _read(await self._send("GET", path))

    async def post(self, path: str, body: Mapping[str, object] | None = None) -> Answer:
        """Call a custom verb with the gateway's own right. Raises NotSent, Unavailable."""
        return await _read(await self._send("POST", path, json.dumps(body or {}).encode(), _JSON))

    async def delete(self, path: str) -> Answer:
        """Delete one resource with the gateway's own right. Raises NotSent, Unavailable."""
        return await _read(await self._send("DELETE", path))

    async def fetch_signed(self, url: str) -> AsyncIterator[bytes]:
        """The bytes behind a signed URL. The signature is the credential: no key is sent. Raises Unavailable."""
        if not _SIGNED.match(url):
            raise Internal("The platform returned a signed URL that is not HTTP.")
        answer = await self._client.send("GET", url, {"accept-encoding": "identity"})
        try:
            if answer.status_code != 200:
                raise Unavailable(f"The platform refused a signed download with HTTP {answer.status_code}.")
            async for block in answer.blocks():
                yield block
        finally:
            answer.close()

    async def put_signed(self, url: str, content: bytes) -> Answer:
        """Send bytes to a signed URL; no key is sent. Raises NotSent, Unavailable."""
        if not _SIGNED.match(url):
            raise Internal("The platform returned a signed URL that is not HTTP.")
        size = str(len(content))
        headers = {"content-type": "application/octet-stream", "x-goog-content-length-range": f"{size},{size}"}
        return await _read(await self._client.send("PUT", url, headers, content))

    async def _send(
        self,
        verb: str,
        path: str,
        content: bytes | AsyncIterator[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        return await self._client.send(verb, path, {**(headers or {}), **self._credentials}, content)


class Relay(StreamingResponse):
    """An answer passed on as it arrives; the platform's connection ends with the caller's, whoever ends first."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.blocks(), answer.status_code, visible_headers(answer))
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._answer.close()


def path_of(call: Call) -> str:
    """Path and query, written anew from the parsed call."""
    values = {name: quote(value, safe="-_.") for name, value in call.params.items()}
    path = call.route.path.format(**values) if values else call.route.path
    return f"{path}?{urlencode(call.query, quote_via=quote)}" if call.query else path


async def relay(answer: Answer) -> Response:
    """Pass an answer on: a short one of known length at once, anything else as it arrives."""
    length = answer.headers.get("content-length", "")
    if length.isdigit() and int(length) <= _SHORT and "content-encoding" not in answer.headers:
        return Response(await answer.read(), answer.status_code, visible_headers(answer))
    return Relay(answer)


def visible_headers(answer: Answer) -> dict[str, str]:
    """The headers of the platform's answer that a caller may see."""
    found = ((name, answer.headers.get(name)) for name in (*RESPONSE_HEADERS, "content-length"))
    # a server writes header values as they are: a control character in one could end the header
    return {name: value for name, value in found if value is not None and value.isprintable()}


async def _read(answer: Answer) -> Answer:
    await answer.read()
    return answer
