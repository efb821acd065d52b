"""The fast path: rows that are obviously right, which is nearly all of them, at a fraction of the full rules' cost.

A row it takes would pass the full rules without any finding; all others it leaves to them. A test holds the two
together.
"""

from collections import Counter
from typing import Any

from pilotlight.dataset.report import KEPT, RowKind, ScanReport, Severity

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}".encode()


class PlainRows:
    """Counts plain rows by their sequence of roles; `finish` adds the sums to the report."""

    def __init__(self, report: ScanReport) -> None:
        self.report = report
        self.shapes: Counter[tuple[str, ...]] = Counter()
        self.characters = 0
        self.first: list[int] = []
        """Lines of the first plain rows; they have no weight."""

    def take(self, number: int, line: bytes, row: dict[str, Any]) -> bool:
        """Count the row and return True if nothing at all can be wrong with it."""
        messages = row.get("messages")
        keys = len(row)
        if type(messages) is not list or keys > 2 or (keys == 2 and "ground_truth" not in row):
            return False
        if keys == 2 and isinstance(row["ground_truth"], dict | list):
            return False
        roles: list[Any] = []
        characters = 0
        for message in messages:
            if type(message) is not dict or len(message) != 2:
                return False
            content = message.get("content")
            if type(content) is not str or not content or content.isspace():
                return False
            roles.append(message.get("role"))
            characters += len(content)
        if not self._count(line, roles, keys + 2 * len(roles), characters):
            return False
        if len(self.first) < KEPT[Severity.ERROR]:
            self.first.append(number)
        return True

    def finish(self, report: ScanReport) -> int:
        """Add the counts to the report; returns the number of plain rows, all of which have an answer."""
        rows = 0
        for shape, times in self.shapes.items():
            rows += times
            report.messages += len(shape) * times
            for role in shape:
                report.roles[role] += times
        report.characters += self.characters
        return rows

    def _count(self, line: bytes, roles: list[Any], keys: int, characters: int) -> bool:
        # The cheap half of find_duplicate, see there; a role that is no text makes the tuple unusable as a key.
        if line.count(b'":') - line.count(b'\\":') != keys or b'" ' in line or b'"\t' in line or b'"\r' in line:
            return False
        if b'\\\\":' in line or _REPLACEMENT in line or b"\\ufffd" in line or b"\\uFFFD" in line:
            return False
        if self.report.kind is not RowKind.CHAT:
            return False
        try:
            shape = tuple(roles)
            if shape not in self.shapes and not _is_clean(shape):
                return False
        except TypeError:
            return False
        self.shapes[shape] += 1
        self.characters += characters
        return True


def _is_clean(shape: tuple[Any, ...]) -> bool:
    """Whether roles are an optional system message, then user and assistant in turn, ending with the assistant."""
    turns = shape[1:] if shape[:1] == ("system",) else shape
    return len(turns) >= 2 and len(turns) % 2 == 0 and turns == ("user", "assistant") * (len(turns) // 2)
