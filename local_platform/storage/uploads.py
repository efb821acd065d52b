"""Registered uploads: which files a dataset or model in the making awaits by signed URL, and the folder they arrive in.

The registration is the internal body field `_upload`: {id, files: {name: bytes}}; a new one replaces the old.
"""

import shutil
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

from local_platform.context import Platform
from local_platform.resources import get, select_rows, update_body
from local_platform.tables import DatasetRow, EvaluatorRow, ModelRow, Resource
from pilotlight.errors import FailedPrecondition

_OPEN = frozenset({"UPLOADING", "BUILDING"})
"""States that await files: of datasets and models, and of evaluators."""
MULTIPART = "multipart"
"""Beside the folders of registrations: where files of `:upload` arrive."""
_KEPT = 24 * 3600
"""Seconds an upload is kept after its last file arrived; its URLs are long dead by then."""


def require_uploading(row: Resource) -> None:
    """Raises FailedPrecondition when the resource is complete: its content cannot be changed [P10]."""
    if row.state not in _OPEN:
        raise FailedPrecondition(f"{row.name} is {row.state}: its content cannot be changed.", hint="Create a new one.")


def register_upload(platform: Platform, table: type[Resource], name: str, sizes: dict[str, int]) -> str:
    """Make a folder for the files to come; returns the upload's ID. Raises NotFound, FailedPrecondition."""
    clean_expired(platform)
    upload = uuid4().hex
    with platform.writing() as db:
        row = get(db, table, name)
        require_uploading(row)
        forget_upload(platform, row)
        update_body(db, row, {"_upload": {"id": upload, "files": sizes}})
        upload_folder(platform, upload).mkdir(parents=True)
        db.commit()
    return upload


def arrived_files(platform: Platform, row: Resource) -> list[Path]:
    """The files of the registration, by name. Raises FailedPrecondition while some are missing."""
    upload: dict[str, Any] = row.body.get("_upload") or {"id": "none", "files": {}}
    folder = upload_folder(platform, upload["id"])
    files = [folder / file for file in sorted(upload["files"])]
    missing = [file.name for file in files if not file.is_file()]
    if missing or not files:
        raise FailedPrecondition(
            f"{row.name} misses {', '.join(missing)[:300]}." if files else f"{row.name} has no uploaded file.",
            hint="PUT each file to its URL of :getUploadEndpoint; a single dataset file can also go to :upload.",
        )
    return files


def upload_folder(platform: Platform, upload: str) -> Path:
    """Where the files of a registration arrive."""
    return platform.home / "uploads" / upload


def forget_upload(platform: Platform, row: Resource) -> None:
    """Remove the files of a registration; the caller updates the row."""
    if upload := row.body.get("_upload"):
        shutil.rmtree(upload_folder(platform, upload["id"]), ignore_errors=True)


def clean_uploads(platform: Platform) -> None:
    """At start: remove what earlier runs left behind and no resource in the making refers to."""
    clean_expired(platform)
    with platform.reading() as db:
        rows = [row for table in (DatasetRow, ModelRow, EvaluatorRow) for row in select_rows(db, table, None, *_OPEN)]
    wanted = {row.body["_upload"]["id"] for row in rows if row.body.get("_upload")}
    for entry in _folders(platform):
        if entry.name not in wanted:
            shutil.rmtree(entry, ignore_errors=True)
        else:
            for part in (*entry.glob("*.part"), *entry.glob(".joined-*")):
                part.unlink(missing_ok=True)
    _clean_blobs(platform)


def clean_expired(platform: Platform) -> None:
    """Remove uploads whose URLs have expired long ago and that nobody validated."""
    oldest = time.time() - _KEPT
    for entry in _folders(platform):
        if entry.name != MULTIPART and entry.stat().st_mtime < oldest:
            shutil.rmtree(entry, ignore_errors=True)


def _folders(platform: Platform) -> list[Path]:
    folder = platform.home / "uploads"
    return list(folder.iterdir()) if folder.is_dir() else []


def _clean_blobs(platform: Platform) -> None:
    # A crash between storing a blob and committing its resource leaves the blob without one.
    with platform.reading() as db:
        known = {row.body.get("contentHash") for row in select_rows(db, DatasetRow)}
        known |= {row.body.get("_source") for row in select_rows(db, EvaluatorRow)}
    for digest in platform.blobs.digests():
        if digest not in known:
            platform.blobs.discard(digest)
