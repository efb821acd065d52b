"""From uploaded files to an immutable dataset: registered, joined, scanned, stored by content [P24-P41]."""

from pathlib import Path
from typing import Any
from uuid import uuid4

from local_platform.context import Platform
from local_platform.datasets.tokens import estimate_tokens
from local_platform.resources import get, update_body
from local_platform.storage.blobs import hash_file
from local_platform.storage.uploads import arrived_files, forget_upload, require_uploading
from local_platform.tables import DatasetRow
from pilotlight.crashpoints import Point, reach
from pilotlight.dataset import RowKind, ScanReport, Severity, scan
from pilotlight.dataset.reading import BOM
from pilotlight.errors import InvalidArgument

_CHARACTERS_PER_TOKEN = 4
_CHUNK = 1 << 20


def publish_upload(platform: Platform, name: str) -> None:
    """Validate what was uploaded by signed URLs and make the dataset READY; a READY one is left as it is.

    Raises FailedPrecondition while files are missing, InvalidArgument with the findings when they are not valid.
    """
    with platform.reading() as db:
        row = get(db, DatasetRow, name)
    if row.state == "READY":
        return
    files = arrived_files(platform, row)
    joined = _join(files, files[0].with_name(f".joined-{uuid4().hex}"))
    publish_file(platform, name, joined, [file.name for file in files])


def publish_file(
    platform: Platform, name: str, file: Path, filenames: list[str], digest: str | None = None
) -> ScanReport:
    """Scan `file` and make it the content of the dataset; the file is moved away or removed in any case.

    An invalid file leaves the dataset UPLOADING, with the reason in its status. Raises InvalidArgument then.
    """
    try:
        report = scan(file)
        digest = None if report.errors else digest or hash_file(file)
        tokens = estimate_tokens(platform, file, report) if digest else {}
        with platform.writing() as db:
            row = get(db, DatasetRow, name)
            require_uploading(row)
            if digest:
                platform.blobs.adopt(file, digest)
                reach(Point.PLATFORM_UPLOAD_ADOPTED)
                forget_upload(platform, row)
                update_body(db, row, _facts(report, digest, filenames, tokens), "READY")
            else:
                status = {"code": "INVALID_ARGUMENT", "message": report.describe_errors()}
                update_body(db, row, {"status": status})
            db.commit()
            reach(Point.PLATFORM_UPLOAD_COMMITTED)
    finally:
        file.unlink(missing_ok=True)
    if not digest:
        raise _invalid(report, filenames)
    return report


def remove_dataset(platform: Platform, row: DatasetRow, others: list[DatasetRow]) -> None:
    """Remove the files of a dataset that is being deleted; equal content of `others` stays."""
    forget_upload(platform, row)
    digest = row.body.get("contentHash")
    if digest and all(other.body.get("contentHash") != digest for other in others if other.name != row.name):
        platform.blobs.discard(digest)


def _join(files: list[Path], target: Path) -> Path:
    """One file of all, in order: a line end after each, byte order marks only at the start."""
    with target.open("wb") as joined:
        for index, file in enumerate(files):
            with file.open("rb") as part:
                head = part.read(_CHUNK)
                last = head = head.removeprefix(BOM) if index else head
                joined.write(head)
                while chunk := part.read(_CHUNK):
                    joined.write(chunk)
                    last = chunk
            if last and not last.endswith(b"\n") and len(files) > 1:
                joined.write(b"\n")
    return target


def _facts(report: ScanReport, digest: str, filenames: list[str], tokens: dict[str, int]) -> dict[str, Any]:
    """The wire fields a valid file fills in; int64 as strings."""
    return {
        "exampleCount": str(report.rows),
        "estimatedTokenCount": str(max(tokens.values(), default=report.characters // _CHARACTERS_PER_TOKEN)),
        "estimatedTokenCounts": {name: str(count) for name, count in tokens.items()},
        "averageTurnCount": round(report.messages / report.rows, 3),
        "format": "RL" if report.kind is RowKind.PROMPT else "CHAT",
        "rowKind": str(report.kind),
        "contentHash": digest,
        "sizeBytes": str(report.bytes),
        "warningCount": report.warnings,
        "status": {"code": "OK", "message": ""},
        "_filename": filenames[0] if len(filenames) == 1 else None,
        "_upload": None,
    }


def _invalid(report: ScanReport, filenames: list[str]) -> InvalidArgument:
    joined = f" Lines count over the files joined in this order: {', '.join(filenames)}." if len(filenames) > 1 else ""
    violations = [{"field": f"line {item.line}", "description": item.message} for item in report.of(Severity.ERROR)]
    details = {"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": violations}
    return InvalidArgument(report.describe_errors() + joined, details=[details])
