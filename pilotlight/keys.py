"""API keys: `fw_` + 32 random base62 characters + a 6-character checksum. Only the SHA-256 is ever stored.

A random key of 190 bits needs no slow hash; the checksum lets a scanner or a typo be told from a real key offline.
"""

import hashlib
import hmac
import secrets
import string
import zlib
from typing import NamedTuple

PREFIX = "fw_"
_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
_RANDOM, _CHECK = 32, 6


class NewKey(NamedTuple):
    """A freshly minted key. `secret` is shown once and never stored."""

    secret: str
    digest: str
    hint: str


def mint_key() -> NewKey:
    """A new random key, its digest for storage, and its last four characters for display."""
    body = "".join(secrets.choice(_ALPHABET) for _ in range(_RANDOM))
    secret = PREFIX + body + _checksum(body)
    return NewKey(secret, digest_key(secret), secret[-4:])


def digest_key(secret: str) -> str:
    """SHA-256 in hex: what is stored and looked up (an index lookup on a digest leaks nothing about the key)."""
    return hashlib.sha256(secret.encode()).hexdigest()


def matches(secret: str, digest: str) -> bool:
    """Constant-time comparison of a presented key with a stored digest."""
    return hmac.compare_digest(digest_key(secret), digest)


def well_formed(secret: str) -> bool:
    """Whether the checksum holds; a False here needs no database."""
    body, check = secret[len(PREFIX) : -_CHECK], secret[-_CHECK:]
    return secret.startswith(PREFIX) and len(body) == _RANDOM and hmac.compare_digest(_checksum(body), check)


def _checksum(body: str) -> str:
    number, digits = zlib.crc32(body.encode()), ""
    for _ in range(_CHECK):
        number, rest = divmod(number, len(_ALPHABET))
        digits = _ALPHABET[rest] + digits
    return digits
