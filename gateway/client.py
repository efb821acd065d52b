"""HTTP to the platform: pooled connections, nothing decoded, no redirect followed, nothing that acts sent twice."""

import json
import select
from collections.abc import AsyncIterator, Mapping
from typing import Any, Self

import aiohttp
import httpx
from aiohttp.connector import Connection
from yarl import URL

from pilotlight.errors import Unavailable

TIMEOUT = aiohttp.ClientTimeout(total=None, connect=600.0, sock_connect=10.0, sock_read=600.0)
_KEEP_ALIVE = 4.0
"""Seconds; servers of ours close after five, and a request that meets the close has an unknown outcome."""
_NEVER_CONNECTED = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
_ANSWERLESS = (aiohttp.ClientError, OSError)


class NotSent(Unavailable):
    """The platform could not be reached: the call certainly did not happen."""


class Answer:
    """A response of the platform. Its body is unread until `read` or `blocks`; one of the two, or `close`, ends it."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.status_code, self.headers = response.status, response.headers
        self.content = b""
        """The body, once `read`."""
        self._whole = False

    async def read(self) -> bytes:
        """The whole body, again too. Raises Unavailable when it breaks off: the outcome is then unknown."""
        if self._whole:
            return self.content
        try:
            self.content = await self._response.read()
            self._whole = True
        except _ANSWERLESS as error:
            raise _broken(error) from error
        finally:
            self.close()
        return self.content

    async def blocks(self) -> AsyncIterator[bytes]:
        """The body as it arrives. Raises Unavailable when it breaks off."""
        try:
            async for block in self._response.content.iter_any():
                yield block
        except _ANSWERLESS as error:
            raise _broken(error) from error
        finally:
            self.close()

    def json(self) -> Any:
        """What was `read`, as JSON. Raises ValueError."""
        return json.loads(self.content)

    def close(self) -> None:
        """End it; where the body was not read to its end, the connection closes, so that the platform stops too."""
        self._response.close()


class PlatformClient:
    """One per process and event loop; opened by its first call, closed by `aclose`. It knows no credentials.

    `timeout.connect` is the wait for one of `connections`, `sock_connect` and `sock_read` are between two packets.
    """

    def __init__(self, base_url: str, connections: int = 200, timeout: aiohttp.ClientTimeout = TIMEOUT) -> None:
        self.base_url, self._connections, self._timeout = base_url, connections, timeout
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def send(
        self, verb: str, target: str, headers: Mapping[str, str], body: bytes | AsyncIterator[bytes] | None = None
    ) -> Answer:
        """Send one request; `target` is a path with query below the base URL, or a whole URL, already quoted.

        Raises NotSent when no connection was made, Unavailable when the outcome is unknown.
        """
        url = URL(self.base_url.rstrip("/") + target if target.startswith("/") else target, encoded=True)
        self._session = self._session or self._open()
        try:
            response = await self._session.request(verb, url, data=body, headers=headers, allow_redirects=False)
        except _NEVER_CONNECTED as error:
            raise NotSent("The platform cannot be reached.", hint="Is the local platform running?") from error
        except _ANSWERLESS as error:
            raise Unavailable(f"The platform did not answer ({type(error).__name__}).") from error
        if response.status < 200:
            response.close()
            raise Unavailable(f"The platform did not answer (HTTP {response.status} is no final status).")
        return Answer(response)

    async def aclose(self) -> None:
        """Close all connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _open(self) -> aiohttp.ClientSession:
        # httpx's context, because it brings its own list of authorities: a slim image has none
        tls = httpx.create_ssl_context() if self.base_url.startswith("https:") else True
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._connections, keepalive_timeout=_KEEP_ALIVE, ssl=tls),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=self._timeout,
            auto_decompress=False,
            trust_env=False,
            request_class=_Request,
            middlewares=(_send_once,),
        )


class _Spoilt(aiohttp.ClientConnectionError):
    """A kept connection cannot take the request; nothing of it was written."""


class _Request(aiohttp.ClientRequest):
    async def send(self, conn: Connection) -> aiohttp.ClientResponse:
        """Send on a connection on which nothing waits to be read.

        What does is the end of the connection, or an answer that nobody asked for and this request would get.
        """
        if conn.protocol is None or conn.protocol.should_close or _readable(conn):
            raise _Spoilt
        return await super().send(conn)


def _readable(conn: Connection) -> bool:
    socket = conn.transport.get_extra_info("socket") if conn.transport else None
    if socket is None:
        return True
    poll = select.poll()
    poll.register(socket.fileno(), select.POLLIN)
    return bool(poll.poll(0))


async def _send_once(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Keep aiohttp from repeating what it takes for idempotent, except reads: a DELETE may have happened."""
    while True:
        try:
            return await handler(request)
        except _Spoilt:
            continue
        except _NEVER_CONNECTED:
            raise
        except aiohttp.ClientConnectionError as error:
            if request.method == "GET":
                raise
            raise Unavailable(f"The platform did not answer ({type(error).__name__}).") from error


def _broken(error: Exception) -> Unavailable:
    return Unavailable(f"The platform's answer broke off ({type(error).__name__}).")
