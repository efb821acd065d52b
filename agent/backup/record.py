"""What a backup holds: `backup.json`, and the check of everything that it names."""

import hashlib
import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from pilotlight.archive import folder_at, open_regular, walk_tree
from pilotlight.archive.names import fault_of
from pilotlight.errors import FailedPrecondition

RECORD = "backup.json"
FILES = "home"
FORMAT = 1
MOST_ENTRIES = 20_000_000
DEEPEST = 32
_CHUNK = 1 << 20


class FileRecord(BaseModel):
    """A file, or a link to a checkpoint that lies elsewhere (`link`, never followed)."""

    model_config = ConfigDict(extra="forbid")

    size: int = 0
    sha256: str = ""
    link: str | None = None


class Record(BaseModel):
    """The content of `backup.json`."""

    model_config = ConfigDict(extra="forbid")

    format: int
    pilotlight: str
    """Version that made it."""
    time: str
    home: str
    """Where the home was: paths in the platform's database begin with it."""
    database: str
    """`sqlite`, or `postgresql` with a dump beside the files."""
    store: str
    """`home` when the workspace store is among the files; else where it is."""
    sessions: int
    unsaved: list[str]
    """Sessions whose last turn has no snapshot: their files are not in the backup."""
    files: dict[str, FileRecord]


def read_record(folder: Path) -> Record:
    """Raises FailedPrecondition when there is none, or one of another format."""
    try:
        record = Record.model_validate_json((folder / RECORD).read_bytes())
    except FileNotFoundError as error:
        raise FailedPrecondition(
            f"{folder} is no backup: it has no {RECORD}.", hint="A backup that broke off has none either."
        ) from error
    except ValidationError as error:
        raise FailedPrecondition(f"{folder / RECORD} is not readable: {error.error_count()} problems.") from error
    if record.format != FORMAT:
        raise FailedPrecondition(f"The backup has the format {record.format}; this version reads {FORMAT}.")
    return record


def check_files(folder: Path, record: Record) -> None:
    """Read everything. Raises FailedPrecondition unless exactly the recorded files are there, unchanged."""
    found = scan(folder / FILES)
    for path in [*record.files, *found]:
        if fault := fault_of(path, DEEPEST):
            raise FailedPrecondition(f"The backup has the path {path[:200]!a}, which {fault}.")
    wrong = [path for path, one in record.files.items() if found.get(path) != one] + [*(found.keys() - record.files)]
    if wrong:
        raise FailedPrecondition(
            f"The backup is damaged: {len(wrong)} files are missing, changed or not of it: {sorted(wrong)[0]!a}.",
            hint="Nothing was restored. Take another backup.",
        )


def scan(root: Path) -> dict[str, FileRecord]:
    """Every file and link below `root`."""
    found: dict[str, FileRecord] = {}
    with folder_at(root) as descriptor:
        for entry in walk_tree(descriptor, entries=MOST_ENTRIES, depth=DEEPEST, strict=True):
            kind = entry.info.st_mode & 0o170000
            if kind == 0o120000:
                found[entry.path] = FileRecord(link=(root / entry.path).readlink().as_posix())
            elif kind == 0o100000:
                found[entry.path] = _hash(entry.name, entry.folder)
    return found


def _hash(name: str, parent: int) -> FileRecord:
    descriptor, _ = open_regular(name, parent)
    digest, size = hashlib.sha256(), 0
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        while block := file.read(_CHUNK):
            digest.update(block)
            size += len(block)
    return FileRecord(size=size, sha256=digest.hexdigest())
