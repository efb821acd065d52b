"""`python -m agent.backup create|restore PATH`: what `pilotlight backup` and `pilotlight restore` run."""

import argparse
import sys
from pathlib import Path

from agent.backup.create import create_backup
from agent.backup.restore import restore_backup
from pilotlight.errors import PilotlightError
from pilotlight.redaction import secrets_of, start_logging
from pilotlight.settings import Settings


def main() -> int:
    """0 when it is done."""
    parser = argparse.ArgumentParser(prog="python -m agent.backup", description=__doc__)
    parser.add_argument("action", choices=["create", "restore"])
    parser.add_argument("path", type=Path)
    parser.add_argument("--replace-home", action="store_true", help="move a home that is not empty aside")
    options = parser.parse_args()
    redact = start_logging()
    settings = Settings()
    redact.learn(secrets_of(settings))
    try:
        text = _create(settings, options.path) if options.action == "create" else _restore(settings, options)
    except (PilotlightError, OSError) as error:
        sys.stderr.write(f"Error: {redact(str(error))}\n")
        return 1
    sys.stdout.write(text)
    return 0


def _create(settings: Settings, path: Path) -> str:
    record = create_backup(settings, path.absolute())
    size = sum(one.size for one in record.files.values())
    lines = [f"Backup: {path}", f"Sessions: {record.sessions}", f"Files: {len(record.files)}, {size} bytes"]
    if record.store != "home":
        lines.append(f"Not in it: the workspace store {record.store}; keep its own backup or versions.")
    if record.unsaved:
        lines.append(f"Not in it: files of sessions without a snapshot of their last turn: {', '.join(record.unsaved)}")
    lines.append("It holds keys: keep it as safe as the home.")
    return "\n".join(lines) + "\n"


def _restore(settings: Settings, options: argparse.Namespace) -> str:
    record, former = restore_backup(settings, options.path, replace=options.replace_home)
    lines = [f"Restored: {settings.home}, as of {record.time}", f"Sessions: {record.sessions}"]
    if former:
        lines.append(f"The former home is at {former}.")
    lines.append("Start it with `pilotlight up`. What happened outside after the backup is not undone.")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
