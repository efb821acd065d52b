"""Signed URLs: a capability for one method on one path until a time, without a key [P38, P39].

The signature is HMAC-SHA256 over method, path, expiry and the extra parameters; nothing is stored.
"""

import hashlib
import hmac
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote, urlencode

from pilotlight.errors import PermissionDenied
from pilotlight.identity.service import write_secret

LIFETIME = 3600
"""Seconds a URL is valid, as the SDK expects."""


class Signer:
    """Makes and checks signed URLs with one secret."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def sign(self, base: str, method: str, path: str, parameters: Mapping[str, str] | None = None) -> str:
        """A URL at `base` (scheme and host) that allows `method` on `path` for LIFETIME seconds."""
        query = {**(parameters or {}), "expires": str(int(time.time()) + LIFETIME)}
        signature = self._signature(method, path, query)
        return f"{base.rstrip('/')}{quote(path)}?{urlencode({**query, 'signature': signature})}"

    def check(self, method: str, path: str, query: Mapping[str, str]) -> None:
        """Raises PermissionDenied unless the query carries a valid, unexpired signature for this method and path."""
        signed = {name: value for name, value in query.items() if name != "signature"}
        expected = self._signature(method, path, signed)
        if not hmac.compare_digest(expected.encode(), query.get("signature", "").encode("utf-8", "replace")):
            raise PermissionDenied("The signature of this URL does not match.", hint="Ask for a new signed URL.")
        if int(signed["expires"]) < time.time():
            raise PermissionDenied("This signed URL has expired.", hint="Ask for a new one.")

    def _signature(self, method: str, path: str, query: Mapping[str, str]) -> str:
        text = "\n".join([method, path, *(f"{name}={query[name]}" for name in sorted(query))])
        return hmac.new(self._secret, text.encode("utf-8", "replace"), hashlib.sha256).hexdigest()


def load_secret(path: Path) -> bytes:
    """The signing secret in `path`, made on first use (0600)."""
    if not path.exists():
        write_secret(path, secrets.token_hex(32))
    return path.read_bytes()
