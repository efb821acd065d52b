"""How much a snapshot may hold, and the refusal of one that is not well formed."""

from dataclasses import dataclass

from pilotlight.errors import InvalidArgument


class BadArchive(InvalidArgument):
    """An archive that `pack` did not write: what is wrong with it, and where."""


@dataclass(frozen=True)
class Bounds:
    """Caps of one snapshot, the same for packing and unpacking."""

    entries: int = 20_000
    """Files and folders."""
    total_bytes: int = 2 << 30
    """Content of all files together, uncompressed; so no single file is larger either."""
    depth: int = 16
    """Components of a path."""
