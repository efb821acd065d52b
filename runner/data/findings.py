"""Findings of the inspection: what, how often, and on which lines."""

from dataclasses import dataclass, field
from typing import Literal

from pilotlight.dataset import CODES, ScanReport, Severity

Level = Literal["error", "warning", "info"]
_LINES_KEPT = 10

TITLES = {
    "broken_row": "rows that are not valid chat rows",
    "role_error": "rows with a wrong order of roles",
    "empty_answer": "rows with an empty answer",
    "exact_duplicate": "exact duplicates",
    "near_duplicate": "near duplicates (equal but for case, digits, punctuation or a few words)",
    "label_noise": "rows whose input occurs with another answer as well (label noise)",
    "short_answer": "very short answers",
    "over_long": "rows longer than the base model's context",
    "leakage": "training rows that also occur in the evaluation dataset",
    "converted": "rows that need a conversion",
    "no_label": "rows without a label by the rule of this plan",
    "label_spelling": "rows whose label differs from a more frequent one in case or space only",
    "unlisted_label": "rows with a label that is not among those of this plan",
    "contradiction": "pairs that prefer an answer which another pair of the same prompt rejects",
}
_AFTER = {
    "broken_row": "left out",
    "role_error": "left out",
    "empty_answer": "left out",
    "exact_duplicate": "kept, always on one side of the split",
    "near_duplicate": "kept; equal texts stay on one side of the split",
    "label_noise": "kept; they limit the accuracy that can be reached",
    "over_long": "cut at the context length by the trainer",
    "leakage": "left out of training, so that the score is honest",
    "converted": "done in the new datasets only; the source stays as it is",
    "no_label": "left out; a label is never guessed",
    "label_spelling": "counted as the more frequent one",
    "unlisted_label": "left out",
    "contradiction": "kept; they limit the accuracy that can be reached",
}


@dataclass
class Finding:
    """One kind of finding. `lines` are the first few, each with its detail, which never repeats text of the row."""

    code: str
    severity: Level
    count: int = 0
    lines: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])

    def sentence(self) -> str:
        """For people: `12 exact duplicates (lines 8, 40, 77 ...): kept, ...`."""
        text = f"{self.count:,} {TITLES.get(self.code) or CODES[self.code].message}"
        if self.lines:
            shown = ", ".join(str(line) for line, _ in self.lines[:5])
            more = " ..." if self.count > len(self.lines[:5]) else ""
            text += f" ({'line' if self.count == 1 else 'lines'} {shown}{more})"
        reason = self.lines[0][1] if self.severity == "error" and self.lines else ""
        first = f" First reason: {reason.rstrip('.')}." if reason else ""
        after = _AFTER.get(self.code) or ("" if self.code in TITLES else CODES[self.code].hint.rstrip("."))
        return text + (f": {after}." if after else ".") + first


def from_scan(report: ScanReport) -> list[Finding]:
    """The format check's warnings as findings; its errors are counted as broken rows by the profile."""
    listed: list[Finding] = []
    for code, count in report.counts.items():
        if CODES[code].severity is Severity.WARNING:
            lines = [(finding.line, finding.detail) for finding in report.findings if finding.code == code]
            listed.append(Finding(code, "warning", count, lines))
    return listed


class Findings:
    """Collects findings by kind with bounded memory."""

    def __init__(self) -> None:
        self._by_code: dict[str, Finding] = {}

    def add(self, code: str, severity: Level, line: int, detail: str) -> None:
        """Count one more; the first few keep their line and detail."""
        finding = self._by_code.setdefault(code, Finding(code, severity))
        finding.count += 1
        if len(finding.lines) < _LINES_KEPT:
            finding.lines.append((line, detail))

    def listed(self) -> list[Finding]:
        """Errors first, then warnings, then the rest."""
        order = {"error": 0, "warning": 1, "info": 2}
        return sorted(self._by_code.values(), key=lambda finding: order[finding.severity])
