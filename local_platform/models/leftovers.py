"""What a platform that was killed left half done in the model store: finished where it can be, removed where not."""

import shutil
from pathlib import Path

from sqlmodel import Session

from local_platform.context import Platform
from local_platform.jobs.state import TERMINAL, JobState
from local_platform.resources import select_rows
from local_platform.storage.uploads import upload_folder
from local_platform.tables import JobRow, ModelRow

_STAGED = ".import-*"


def settle_models(platform: Platform) -> None:
    """At start, before anything serves: after it every folder of a model is that of a resource or of a live job.

    An uploaded adapter whose files had moved before its resource said so gets them back: validating again finds them.
    """
    store = platform.home / "models"
    for staged in store.glob(_STAGED):
        shutil.rmtree(staged, ignore_errors=True)
    with platform.reading() as db:
        wanted = _list_wanted(platform, db)
        for row in select_rows(db, ModelRow, None, "UPLOADING"):
            _give_back(platform, row)
    for folder in store.glob("*/*"):
        if folder not in wanted:
            shutil.rmtree(folder, ignore_errors=True)


def _list_wanted(platform: Platform, db: Session) -> set[Path]:
    running = [state for state in JobState if state not in TERMINAL]
    names = [str(job.body["outputModel"]) for job in select_rows(db, JobRow, None, *running)]
    # by name, not by the path that a row remembers: the whole state may have been moved here from elsewhere
    names += [row.name for row in select_rows(db, ModelRow) if row.state != "UPLOADING"]
    return {platform.new_model_directory(name) for name in names}


def _give_back(platform: Platform, row: ModelRow) -> None:
    upload, moved = row.body.get("_upload"), platform.new_model_directory(row.name)
    if upload and moved.is_dir() and not upload_folder(platform, upload["id"]).exists():
        moved.rename(upload_folder(platform, upload["id"]))
