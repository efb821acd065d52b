"""What a scan says about a file."""

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from pilotlight.dataset.codes import CODES, Severity

KEPT = {Severity.ERROR: 20, Severity.WARNING: 5}
"""Findings kept per code; `counts` has them all."""


class RowKind(StrEnum):
    """What the rows of a dataset are for."""

    CHAT = "chat"
    PROMPT = "prompt"
    """No row has an assistant message: prompts for reinforcement learning or generation [P35]."""
    PREFERENCE = "preference"
    """Pairs for DPO and ORPO [P33, P34]."""


class Finding(NamedTuple):
    """One thing found, at a 1-based line of the file."""

    line: int
    code: str
    detail: str = ""

    @property
    def severity(self) -> Severity:
        """Error or warning."""
        return CODES[self.code].severity

    @property
    def message(self) -> str:
        """`invalid JSON on line 42: ... What to do.`"""
        code = CODES[self.code]
        detail = f": {self.detail}" if self.detail else ""
        return f"{code.message} on line {self.line}{detail}. {code.hint}"

    @property
    def reason(self) -> str:
        """The message without its detail, which may repeat text of the row: for plans, questions and events."""
        code = CODES[self.code]
        return f"{code.message}. {code.hint}"

    def to_wire(self) -> dict[str, Any]:
        """JSON form."""
        return {"line": self.line, "code": self.code, "severity": self.severity.value, "message": self.message}


@dataclass
class ScanReport:
    """Counts over the whole file and its first findings. `rows` counts lines that are not blank."""

    rows: int = 0
    bytes: int = 0
    kind: RowKind | None = None
    """None when no row could be read."""
    messages: int = 0
    characters: int = 0
    """Of all texts of all messages."""
    roles: Counter[str] = field(default_factory=Counter[str])
    weighted_rows: int = 0
    tool_rows: int = 0
    reasoning_rows: int = 0
    image_rows: int = 0
    longest_line: int = 0
    findings: list[Finding] = field(default_factory=list[Finding])
    """In order of lines; at most KEPT per code."""
    counts: Counter[str] = field(default_factory=Counter[str])

    def note(self, line: int, code: str, detail: str = "") -> None:
        """Count a finding and keep it while there are few of its code."""
        self.counts[code] += 1
        if self.counts[code] <= KEPT[CODES[code].severity]:
            self.findings.append(Finding(line, code, detail))

    def count_more(self, code: str, more: int) -> None:
        """Count findings that are not kept."""
        if more > 0:
            self.counts[code] += more

    @property
    def errors(self) -> int:
        """How many errors there are in all."""
        return self._total(Severity.ERROR)

    @property
    def warnings(self) -> int:
        """How many warnings there are in all."""
        return self._total(Severity.WARNING)

    def of(self, severity: Severity) -> list[Finding]:
        """The kept findings of one severity."""
        return [finding for finding in self.findings if finding.severity is severity]

    def describe_errors(self, limit: int = 10) -> str:
        """`Dataset validation failed: invalid JSON on line 42: ...`: the first errors and the number of the rest."""
        shown = self.of(Severity.ERROR)[:limit]
        text = "Dataset validation failed: " + "\n".join(finding.message for finding in shown)
        rest = self.errors - len(shown)
        return f"{text}\n... and {rest} more." if rest else text

    def _total(self, severity: Severity) -> int:
        return sum(count for code, count in self.counts.items() if CODES[code].severity is severity)
