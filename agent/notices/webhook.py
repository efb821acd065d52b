"""Webhooks as Standard Webhooks 1.0 describes them: a POST, signed with a secret that the receiver knows."""

import asyncio
import base64
import binascii
import hashlib
import hmac
import time
from urllib.parse import urlsplit

import httpx

from agent.notices.channel import NotDeliveredError
from pilotlight import __version__
from pilotlight.errors import FailedPrecondition

PREFIX = "whsec_"
_SECONDS = 20.0
_LONGEST_WAIT = 86_400.0
_KEY_BYTES = range(24, 65)
_MAKE = "Make one: python3 -c 'import base64, os; print(\"whsec_\" + base64.b64encode(os.urandom(32)).decode())'"


class WebhookChannel:
    """Posts to one URL. Redirects are not followed, and of an answer only its status is read."""

    def __init__(self, url: str, secrets: str, seconds: float = _SECONDS) -> None:
        """`secrets` are separated by spaces: while one replaces another, both sign."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise FailedPrecondition("PILOTLIGHT_WEBHOOK_URL is no http:// or https:// URL.")
        self._url, self._host, self._seconds = url, parts.hostname, seconds
        self._keys = read_secrets(secrets)
        self._http = httpx.AsyncClient(timeout=seconds + 1, follow_redirects=False)

    async def send(self, notice_id: str, body: bytes) -> None:
        """Post once. Raises NotDeliveredError for anything but a 2xx within 20 seconds."""
        headers = sign(self._keys, notice_id, int(time.time()), body) | {
            "content-type": "application/json",
            "user-agent": f"Pilotlight/{__version__}",
        }
        try:
            async with (
                asyncio.timeout(self._seconds),
                self._http.stream("POST", self._url, content=body, headers=headers) as response,
            ):
                _check(response)
        except TimeoutError as error:
            raise NotDeliveredError(f"{self._host} did not answer within {self._seconds:g} s") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise NotDeliveredError(f"{self._host} could not be reached: {type(error).__name__}") from error

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()


def read_secrets(text: str) -> list[bytes]:
    """The keys in `whsec_<base64>` secrets separated by spaces. Raises FailedPrecondition."""
    keys = [_read_secret(secret) for secret in text.split()]
    if not keys:
        raise FailedPrecondition("PILOTLIGHT_WEBHOOK_URL is set, but PILOTLIGHT_WEBHOOK_SECRET is not.", hint=_MAKE)
    return keys


def sign(keys: list[bytes], notice_id: str, seconds: int, body: bytes) -> dict[str, str]:
    """The headers that prove where a body comes from, and when it was sent."""
    content = f"{notice_id}.{seconds}.".encode() + body
    digests = (hmac.new(key, content, hashlib.sha256).digest() for key in keys)
    signature = " ".join(f"v1,{base64.b64encode(digest).decode()}" for digest in digests)
    return {"webhook-id": notice_id, "webhook-timestamp": str(seconds), "webhook-signature": signature}


def _read_secret(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        key = b""
    if not secret.startswith(PREFIX) or len(key) not in _KEY_BYTES:
        raise FailedPrecondition(
            f"PILOTLIGHT_WEBHOOK_SECRET is not {PREFIX} and the base64 of 24 to 64 random bytes.", hint=_MAKE
        )
    return key


def _check(response: httpx.Response) -> None:
    if response.is_success:
        return
    asked = response.headers.get("retry-after", "")
    wait = min(float(asked), _LONGEST_WAIT) if asked.isdecimal() and len(asked) < 9 else 0.0
    raise NotDeliveredError(f"the answer was {response.status_code}", final=response.status_code == 410, wait=wait)
