"""How much a snapshot may hold, and the refusal of one that is not well formed."""

from dataclasses import dataclass

from pilotlight.errors import InvalidArgument


class BadArchive(InvalidArgument):
    """A manifest that `capture` did not make, or content that is not what it says: what is wrong, and where."""


@dataclass(frozen=True)
class Bounds:
    """Caps of one snapshot, the same for taking and for building it."""

    entries: int = 20_000
    """Files and folders."""
    total_bytes: int = 2 << 30
    """Content of all files together; so no single file is larger either."""
    depth: int = 16
    """Components of a path."""
