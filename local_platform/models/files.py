"""An uploaded LoRA adapter: checked against its base model, then moved into the model store [P8, P49]."""

import json
import shutil
from pathlib import Path
from typing import Any

from local_platform.context import Platform
from local_platform.deployments.adapter_fit import find_misfit
from local_platform.resources import get, update_body
from local_platform.storage.uploads import arrived_files, require_uploading
from local_platform.tables import ModelRow
from pilotlight.errors import InvalidArgument

_CONFIG, _WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_SUFFIXES = (".json", ".safetensors", ".md", ".txt", ".jinja")


def check_adapter_filenames(names: list[str]) -> None:
    """Raises InvalidArgument unless these are the files of a PEFT adapter with safetensors weights."""
    missing = [name for name in (_CONFIG, _WEIGHTS) if name not in names]
    if missing:
        raise InvalidArgument(f"A LoRA adapter needs {' and '.join(missing)}.", hint="Upload the folder PEFT saved.")
    odd = [name for name in names if not name.endswith(_SUFFIXES)]
    if odd:
        raise InvalidArgument(f"{odd[0]!r} is not a file of an adapter.", hint="Weights must be safetensors.")


def publish_adapter_upload(platform: Platform, name: str) -> list[str]:
    """Check the uploaded files and make the model READY; returns warnings. A READY model is left as it is.

    Raises FailedPrecondition while files are missing, InvalidArgument when they do not fit the base model.
    """
    with platform.reading() as db:
        row = get(db, ModelRow, name)
        if row.state == "READY":
            return []
        base = get(db, ModelRow, row.body["peftDetails"]["baseModel"])
    folder = arrived_files(platform, row)[0].parent
    config = _read_config(folder / _CONFIG)
    if reason := find_misfit(folder, Path(base.body["_directory"])):
        message = f"The adapter does not fit {base.name}: {reason}."
        _note_failure(platform, name, message)
        raise InvalidArgument(message, hint="Was it trained on this base model?")
    modules: Any = config.get("target_modules")
    modules = sorted(modules) if isinstance(modules, list) else [str(modules)]
    warnings: list[str] = []
    claimed = config.get("base_model_name_or_path")
    if claimed and str(claimed) not in (base.name, base.id, base.body["_directory"]):
        warnings.append(f"adapter_config.json names {str(claimed)[:200]!r} as its base model.")
    with platform.writing() as db:
        row = get(db, ModelRow, name)
        require_uploading(row)
        target = platform.new_model_directory(name)
        shutil.rmtree(target, ignore_errors=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        folder.rename(target)
        details = {"baseModel": base.name, "r": int(config["r"]), "targetModules": modules}
        changes = {"peftDetails": details, "contextLength": base.body["contextLength"], "_directory": str(target)}
        ok = {"status": {"code": "OK", "message": ""}, "_upload": None}
        update_body(db, row, {**changes, **ok}, "READY")
        db.commit()
    return warnings


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        rank = config["r"]
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidArgument(f"{path.name} cannot be read ({error}).", hint="Upload what PEFT saved.") from error
    if config.get("peft_type") != "LORA" or not isinstance(rank, int) or not 1 <= rank <= 1024:
        raise InvalidArgument(f"{path.name} is not of a LoRA adapter.", hint="Only LoRA adapters can be uploaded.")
    return config


def _note_failure(platform: Platform, name: str, message: str) -> None:
    with platform.writing() as db:
        update_body(db, get(db, ModelRow, name), {"status": {"code": "INVALID_ARGUMENT", "message": message}})
        db.commit()
