"""A finished trainer's adapter becomes a model resource [P8]. Safe to repeat after a crash between the two steps."""

import json
import shutil
from pathlib import Path

from sqlmodel import Session

from local_platform.context import Platform
from local_platform.jobs.runs import work_directory
from local_platform.jobs.spec import ADAPTER_FOLDER
from local_platform.resources import find, get, insert
from local_platform.tables import JobRow, ModelRow
from pilotlight.crashpoints import Point, reach
from pilotlight.errors import AlreadyExists, Internal


def publish_adapter(platform: Platform, db: Session, job: JobRow) -> ModelRow:
    """Move the adapter into the model store and insert its resource, READY. The caller commits.

    Raises AlreadyExists when somebody took the name meanwhile, Internal when the trainer left no adapter.
    """
    name, base = job.body["outputModel"], get(db, ModelRow, job.body["_base"])
    if existing := find(db, ModelRow, name):
        if existing.body.get("fineTuningJob") != job.name:
            raise AlreadyExists(f"Output model {name} was created by somebody else while the job ran.")
        return existing
    directory = _move(work_directory(platform.home, job) / ADAPTER_FOLDER, platform.new_model_directory(name))
    config = json.loads((directory / "adapter_config.json").read_text())
    body = {
        "kind": "HF_PEFT_ADDON",
        "displayName": job.body.get("displayName") or job.body["outputModel"].rsplit("/", 1)[-1],
        "contextLength": base.body["contextLength"],
        "peftDetails": {
            "baseModel": base.name,
            "r": int(config["r"]),
            "targetModules": sorted({module.rsplit(".", 1)[-1] for module in config["target_modules"]}),
        },
        "fineTuningJob": job.name,
        "createdBy": job.body["createdBy"],
        "public": False,
        "tunable": False,
        "supportsLora": False,
        "supportsTools": base.body.get("supportsTools", False),
        "status": {"code": "OK", "message": ""},
        "_directory": str(directory),
        "_chatTemplate": job.body.get("jinjaTemplate"),
    }
    return insert(db, ModelRow, name, {field: v for field, v in body.items() if v is not None}, "READY")


def _move(source: Path, target: Path) -> Path:
    if source.is_dir():
        # What lies there can only be of a model that was deleted: the name is free.
        shutil.rmtree(target, ignore_errors=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        source.rename(target)
        reach(Point.PLATFORM_ADAPTER_MOVED)
    if not (target / "adapter_config.json").is_file():
        raise Internal("The trainer ended well but left no adapter.")
    return target
