"""The fast path: rows that are obviously right, which is nearly all of them, at a fraction of the full rules' cost.

A row it takes would pass the full rules without any finding; all others it leaves to them. A test holds the two
together.
"""

from collections import Counter
from typing import Any

from pilotlight.dataset.decoding import count_quotes
from pilotlight.dataset.report import KEPT, RowKind, ScanReport, Severity

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


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
        strings = len(row)
        if type(messages) is not list or strings > 2:
            return False
        if strings == 2:
            # The other field may only be the text of a ground truth.
            if type(row.get("ground_truth")) is not str:
                return False
            strings = 3
        roles: list[Any] = []
        characters = 0
        for message in messages:
            if type(message) is not dict or len(message) != 2:
                return False
            content = message.get("content")
            if type(content) is not str or not content or content.isspace() or _REPLACEMENT in content:
                return False
            roles.append(message.get("role"))
            characters += len(content)
        if not self._fits(line, roles, strings + 4 * len(roles)):
            return False
        self.shapes[tuple(roles)] += 1
        self.characters += characters
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

    def _fits(self, line: bytes, roles: list[Any], strings: int) -> bool:
        if self.report.kind is not RowKind.CHAT or count_quotes(line) != 2 * strings:
            return False
        try:
            shape = tuple(roles)
            return shape in self.shapes or _is_clean(shape)
        except TypeError:
            # A role that is a list or an object is no key.
            return False


def _is_clean(shape: tuple[Any, ...]) -> bool:
    """Whether roles are an optional system message, then user and assistant in turn, ending with the assistant."""
    turns = shape[1:] if shape[:1] == ("system",) else shape
    return len(turns) >= 2 and len(turns) % 2 == 0 and turns == ("user", "assistant") * (len(turns) // 2)
