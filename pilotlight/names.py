"""Resource names `accounts/<account>/<collection>/<id>` and the ID rule [P3, P4]."""

import re
from typing import NamedTuple

from pilotlight.errors import InvalidArgument

ID_PATTERN = re.compile(r"[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?\Z")
CATALOGUE_ACCOUNT = "fireworks"
"""The account of public base models and shapes [P6]."""

_NAME = re.compile(r"accounts/([a-z0-9][a-z0-9-]{0,62})/([A-Za-z][A-Za-z0-9]*)/([A-Za-z0-9][A-Za-z0-9._-]{0,62})\Z")


class ResourceName(NamedTuple):
    """A parsed two-level name."""

    account: str
    collection: str
    id: str

    def __str__(self) -> str:
        return f"accounts/{self.account}/{self.collection}/{self.id}"


def check_id(value: str, field: str) -> str:
    """Return `value` if it obeys [P4]: 1 to 63 of a-z, 0-9, hyphen; a letter first, no hyphen last.

    Raises InvalidArgument naming `field`.
    """
    if not ID_PATTERN.match(value):
        raise InvalidArgument(
            f"Invalid {field} {value[:80]!r}.",
            hint="Use 1 to 63 characters of a-z, 0-9 and '-', starting with a letter and not ending with '-'.",
        )
    return value


def parse_name(value: str, collection: str | None = None) -> ResourceName:
    """Parse a full resource name; with `collection`, also require that collection. Raises InvalidArgument."""
    match = _NAME.match(value)
    if not match or (collection and match[2] != collection):
        wanted = f"accounts/<account>/{collection or '<collection>'}/<id>"
        raise InvalidArgument(f"Invalid resource name {value[:160]!r}.", hint=f"Write it as {wanted}.")
    return ResourceName(match[1], match[2], match[3])


def expand_name(value: str, account: str, collection: str) -> str:
    """Accept a short ID or a full name [F7] and return the full name. Raises InvalidArgument."""
    return str(parse_name(value if "/" in value else f"accounts/{account}/{collection}/{value}", collection))
