"""Building an evaluator: its source is read, its entry point found, its code compiled, its packages installed.

Nothing of it is run here. A build that fails is a state of the evaluator, with a log that says why [P103].
"""

import logging
from pathlib import Path
from typing import NamedTuple

from local_platform.context import Platform
from local_platform.resources import find, get, select_rows, update_body
from local_platform.storage.uploads import arrived_files, forget_upload, require_uploading
from local_platform.tables import EvaluatorRow
from pilotlight.environments import build_environment
from pilotlight.errors import InvalidArgument, PilotlightError
from pilotlight.requirements import parse_requirements
from pilotlight.sources import REQUIREMENTS, entry_of, unpack

_log = logging.getLogger(__name__)


class Built(NamedTuple):
    """An evaluator that can be run. `packages` is None where it requires nothing."""

    files: dict[str, str]
    entry: str
    packages: Path | None
    log: str


def accept_upload(platform: Platform, name: str) -> None:
    """Take the uploaded archive as the evaluator's source and queue its build; without a new one nothing changes.

    Raises NotFound, FailedPrecondition while the file is missing.
    """
    with platform.writing() as db:
        row = get(db, EvaluatorRow, name)
        if "_source" in row.body and "_upload" not in row.body:
            return
        require_uploading(row)
        (file,) = arrived_files(platform, row)
        digest = platform.blobs.adopt(file)
        forget_upload(platform, row)
        update_body(db, row, {"_source": digest, "_upload": None, "_queued": True})
        db.commit()


def next_build(platform: Platform) -> str | None:
    """The evaluator whose build was asked for first."""
    with platform.reading() as db:
        rows = [row for row in select_rows(db, EvaluatorRow, None, "BUILDING") if row.body.get("_queued")]
        return min((row.update_time, row.name) for row in rows)[1] if rows else None


def build_next(platform: Platform) -> bool:
    """Build one evaluator, if one waits; whether there was one."""
    name = next_build(platform)
    if name is None:
        return False
    with platform.reading() as db:
        row = get(db, EvaluatorRow, name)
    try:
        log, state, status = make(platform, row).log, "ACTIVE", {"code": "OK", "message": ""}
    except (PilotlightError, OSError) as error:
        log = "".join(str(detail.get("log", "")) for detail in getattr(error, "details", [])) + f"\n{error}\n"
        state, status = "BUILD_FAILED", {"code": "FAILED_PRECONDITION", "message": str(error)}
    log_path(platform, name).parent.mkdir(parents=True, exist_ok=True)
    log_path(platform, name).write_text(log, "utf-8")
    with platform.writing() as db:
        current = find(db, EvaluatorRow, name)
        if current is not None and current.update_time == row.update_time:
            update_body(db, current, {"status": status, "_queued": None}, state)
            db.commit()
            _log.info("%s is %s", name, state)
    return True


def make(platform: Platform, row: EvaluatorRow) -> Built:
    """The runnable form of an evaluator. Raises InvalidArgument, FailedPrecondition, ResourceExhausted."""
    files = unpack(platform.blobs.path(row.body["_source"]).read_bytes())
    entry = entry_of(files, row.body.get("entryPoint", ""))
    for name, text in files.items():
        if name.endswith(".py"):
            _compile(name, text)
    required = parse_requirements(row.body.get("requirements") or files.get(REQUIREMENTS, ""))
    log = [f"{len(files)} files: {', '.join(sorted(files))[:2000]}", f"Entry point: {entry}"]
    if not required:
        return Built(files, entry, None, "\n".join([*log, "No packages are required.", ""]))
    seconds = platform.settings.evaluator_install_seconds
    environment = build_environment(required, platform.settings.environments, seconds)
    log += [f"Installed: {', '.join(required)}", environment.log]
    return Built(files, entry, environment.packages, "\n".join(log))


def log_path(platform: Platform, name: str) -> Path:
    """Where the build log of an evaluator is."""
    return platform.home / "evaluators" / name.replace("accounts/", "", 1).replace("/evaluators/", "/") / "build.log"


def _compile(name: str, text: str) -> None:
    try:
        compile(text, name, "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        raise InvalidArgument(f"{name} is not Python: {error}.") from error
