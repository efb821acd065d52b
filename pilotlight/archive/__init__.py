"""Snapshots of a folder that somebody untrusted wrote: a manifest of its paths, and the content of its files by digest.

`capture` looks at a folder without following anything in it; `build` makes a folder from what `capture` could have
found, byte for byte. Everything else is refused with a reason, and leaves nothing behind.
"""

from pilotlight.archive.bounds import BadArchive, Bounds
from pilotlight.archive.build import build
from pilotlight.archive.capture import Captured, Stored, blocks_of, capture
from pilotlight.archive.manifest import Entry, Kind, decode_manifest, encode_manifest
from pilotlight.archive.tree import Found, folder_at, open_regular, remove_tree, walk_tree

__all__ = [
    "BadArchive",
    "Bounds",
    "Captured",
    "Entry",
    "Found",
    "Kind",
    "Stored",
    "blocks_of",
    "build",
    "capture",
    "decode_manifest",
    "encode_manifest",
    "folder_at",
    "open_regular",
    "remove_tree",
    "walk_tree",
]
