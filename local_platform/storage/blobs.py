"""Content-addressed files: `<folder>/<sha256>`, written once, never changed."""

import hashlib
import os
from pathlib import Path

_CHUNK = 1 << 20


class BlobStore:
    """Files by their SHA-256 in hex; equal content is stored once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def path(self, digest: str) -> Path:
        """Where the blob is or would be."""
        return self.folder / digest

    def adopt(self, file: Path, digest: str | None = None) -> str:
        """Move a finished file into the store, durably; returns its digest. `file` is gone afterwards."""
        digest = digest or hash_file(file)
        target = self.path(digest)
        if target.exists():
            file.unlink()
            return digest
        with file.open("rb") as handle:
            os.fsync(handle.fileno())
        file.chmod(0o444)
        file.replace(target)
        return digest

    def digests(self) -> list[str]:
        """All that is stored."""
        return [entry.name for entry in self.folder.iterdir()]

    def discard(self, digest: str) -> None:
        """Delete a blob nobody refers to any more; a missing one is fine."""
        self.path(digest).unlink(missing_ok=True)


def hash_file(path: Path) -> str:
    """SHA-256 of a file in hex, in bounded memory."""
    digest = hashlib.sha256()
    with path.open("rb") as handle:
        while chunk := handle.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
