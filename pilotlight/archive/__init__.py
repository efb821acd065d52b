"""Snapshots of a folder that somebody untrusted wrote: one gzipped ustar file, packed and unpacked strictly.

Only what `pack` could have written is unpacked, byte for byte; everything else is refused with a reason, and leaves
nothing behind. `tarfile` is not used for either: its extraction filter is missing from Pythons that we support.
"""

from pilotlight.archive.bounds import BadArchive, Bounds
from pilotlight.archive.pack import Packed, pack
from pilotlight.archive.tree import Found, folder_at, open_regular, remove_tree, walk_tree
from pilotlight.archive.unpack import unpack

__all__ = [
    "BadArchive",
    "Bounds",
    "Found",
    "Packed",
    "folder_at",
    "open_regular",
    "pack",
    "remove_tree",
    "unpack",
    "walk_tree",
]
