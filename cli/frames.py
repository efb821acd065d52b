"""Server-sent events out of a stream of lines: only whole ones, so that a stream cut anywhere yields nothing half."""

import json
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple


class Frame(NamedTuple):
    """One event of a stream. `id` is empty for what is not in the log."""

    kind: str
    id: str
    data: dict[str, Any]


def read_frames(lines: Iterable[str]) -> Iterator[Frame]:
    """Frames that an empty line has closed; comments are skipped. Raises ValueError for data that is no JSON."""
    fields: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        if line and name:
            fields[name] = value.removeprefix(" ")
        elif not line:
            if "data" in fields:
                yield Frame(fields.get("event", ""), fields.get("id", ""), json.loads(fields["data"]))
            fields = {}
