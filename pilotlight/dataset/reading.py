"""Lines and rows of a JSONL file, streamed: never more than one line in memory."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from pilotlight.errors import InvalidArgument

MAX_LINE = 10_000_000
"""Longest line accepted, in bytes."""
BOM = b"\xef\xbb\xbf"
_SKIP = 1 << 20


def iter_lines(stream: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """Each line without its end, and its length in bytes with it; a line over MAX_LINE comes cut off.

    A byte order mark at the start of the stream stays in the first line.
    """
    # Two bytes of room for the line end.
    while line := stream.readline(MAX_LINE + 3):
        length = len(line)
        if length > MAX_LINE + 2 and not line.endswith(b"\n"):
            length += _skip_rest(stream)
        yield line, length


def iter_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(1-based line number, row) of a scanned file; blank lines are skipped, a byte order mark is dropped.

    Raises InvalidArgument at a line that is no JSON object: scan the file first to learn all that is wrong with it.
    """
    with path.open("rb") as stream:
        for number, (line, _length) in enumerate(iter_lines(stream), 1):
            text = line.removeprefix(BOM) if number == 1 else line
            if not text.strip():
                continue
            row = _parse(text, number)
            if not isinstance(row, dict):
                raise InvalidArgument(f"The row is not a JSON object on line {number}.")
            yield number, row


def _parse(text: bytes, number: int) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InvalidArgument(f"Invalid JSON on line {number}: {error.msg}.") from error


def _skip_rest(stream: BinaryIO) -> int:
    skipped = 0
    while part := stream.readline(_SKIP):
        skipped += len(part)
        if part.endswith(b"\n"):
            break
    return skipped
