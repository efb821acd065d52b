"""The session's folder: what the user sees (plan, report, outputs) and what only the runner needs (data, state)."""

import json
import os
from pathlib import Path
from typing import Any

from pilotlight.crashpoints import Point, reach


class Workspace:
    """Paths below one root, and atomic reads and writes of JSON and text. A crash never leaves half a file."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.data = root / "data"
        self.outputs = root / "outputs"
        self.state = root / "state"
        for folder in (self.data, self.outputs, self.state):
            folder.mkdir(parents=True, exist_ok=True)

    def write_text(self, path: str, text: str) -> Path:
        """Replace the file at `path` (relative to the root) as a whole, synced to disk."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{target.name}.part")
        with part.open("w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        reach(Point.RUNNER_FILE_WRITTEN)
        part.replace(target)
        return target

    def write_json(self, path: str, value: Any) -> Path:
        """Write plain JSON, readable."""
        return self.write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")

    def read_json(self, path: str, default: Any = None) -> Any:
        """The JSON at `path`, or `default` where there is no such file. A damaged file raises ValueError."""
        target = self.root / path
        return json.loads(target.read_text(encoding="utf-8")) if target.exists() else default
