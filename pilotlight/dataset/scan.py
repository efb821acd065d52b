"""The streaming scan of a JSONL file: bounded memory, every line looked at, nothing raised for bad data."""

import time
from pathlib import Path
from typing import Any, BinaryIO, cast

from pilotlight.dataset.content import kind_of
from pilotlight.dataset.decoding import Refusal, count_strings, decode, find_duplicate
from pilotlight.dataset.plain import PlainRows
from pilotlight.dataset.reading import BOM, MAX_LINE, iter_lines
from pilotlight.dataset.report import ScanReport
from pilotlight.dataset.rows import RowChecker
from pilotlight.dataset.sniffing import sniff

MIN_ROWS, MAX_ROWS = 3, 3_000_000


def scan(source: Path | BinaryIO) -> ScanReport:
    """Read all of `source` (a path, or a binary stream at its start) and report what is in it and what is wrong.

    A file that is not JSONL at all (compressed, HTML, a JSON array, ...) is one finding on line 1, not one per line.
    Raises OSError only.
    """
    report = ScanReport()
    if isinstance(source, Path):
        with source.open("rb", buffering=1 << 20) as stream:
            _Scan(report).run(stream)
    else:
        _Scan(report).run(source)
    return report


class _Scan:
    def __init__(self, report: ScanReport) -> None:
        self.report = report
        self.rows = RowChecker(report)
        self.plain = PlainRows(report)
        self.blank: list[int] = []
        self.last = 0
        self.started = False

    def run(self, stream: BinaryIO) -> None:
        for number, (line, length) in enumerate(iter_lines(stream), 1):
            self.last = number
            self.report.bytes += length
            if number == 1:
                line = self._begin(line)
            if not self._take(number, line, length):
                return
            if not number & 2047:
                # Pure Python work of seconds: let the other threads of a server breathe.
                time.sleep(0)
        self._finish()

    def _begin(self, line: bytes) -> bytes:
        self.head = line[:16]
        if line.startswith(BOM):
            self.report.note(1, "bom")
        if line.endswith(b"\r\n"):
            self.report.note(1, "crlf")
        return line.removeprefix(BOM)

    def _take(self, number: int, line: bytes, length: int) -> bool:
        """Look at one line; False stops the scan."""
        if not line.strip():
            self.blank.append(number)
            return True
        if not self.started:
            self.started = True
            if wrong := sniff(self.head, line):
                self.report.note(number, wrong.code, wrong.detail)
                return False
        self._note_blanks()
        self.report.rows += 1
        if self.report.rows > MAX_ROWS:
            self.report.note(number, "too_many_rows")
            return False
        self.report.longest_line = max(self.report.longest_line, length)
        if length > MAX_LINE + 2:
            self.report.note(number, "line_too_long", f"it has {length / 1e6:.1f} MB")
        else:
            self._check_line(number, line)
        return True

    def _check_line(self, number: int, line: bytes) -> None:
        value = decode(line)
        if isinstance(value, Refusal):
            self.report.note(number, *value)
        elif not isinstance(value, dict):
            self.report.note(number, "not_an_object", f"it is {kind_of(value)}")
        else:
            row = cast("dict[str, Any]", value)
            if self.plain.take(number, line, row):
                return
            duplicate = find_duplicate(line, count_strings(row))
            if duplicate:
                self.report.note(number, *duplicate)
            self.rows.check(number, row)

    def _note_blanks(self) -> None:
        # Blank lines at the very end are no finding: only those before a row are noted.
        for number in self.blank:
            self.report.note(number, "blank_line")
        self.blank.clear()

    def _finish(self) -> None:
        if not self.report.rows:
            self.report.note(1, "empty_file", "" if not self.report.bytes else "it holds only blank lines")
            return
        self.rows.finish(self.plain.finish(self.report), self.plain.first)
        if self.report.rows < MIN_ROWS:
            self.report.note(self.last, "too_few_rows", f"it has {self.report.rows}")
        self.report.findings.sort(key=lambda finding: finding.line)
