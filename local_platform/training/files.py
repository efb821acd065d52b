"""Files that another process reads while we write them: replaced whole, or appended line by line."""

import json
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any


@contextmanager
def replace_file(path: Path) -> Generator[IO[bytes]]:
    """A binary file that takes the place of `path` when the block ends well, and is gone when it does not."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Replace a JSON file. No sync to the disk: progress is worth a rename, not a flush per step."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(value, ensure_ascii=False))
    temporary.replace(path)


def append_json_line(file: IO[str], value: Any) -> None:
    """One object, one line, visible to readers at once."""
    file.write(json.dumps(value, ensure_ascii=False) + "\n")
    file.flush()
