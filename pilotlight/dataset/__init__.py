"""Training data: the grammar of a JSONL row, and the streaming scan that finds what breaks it [P24-P41].

Shared by the platform (which refuses errors at upload), the runner (which shows warnings at inspection) and the trainer
(which reads rows).
"""

from pilotlight.dataset.codes import CODES, Severity
from pilotlight.dataset.pairs import Pair, is_pair, prompt_key, read_pair
from pilotlight.dataset.reading import iter_rows
from pilotlight.dataset.report import Finding, RowKind, ScanReport
from pilotlight.dataset.scan import MAX_ROWS, MIN_ROWS, scan

__all__ = [
    "CODES",
    "MAX_ROWS",
    "MIN_ROWS",
    "Finding",
    "Pair",
    "RowKind",
    "ScanReport",
    "Severity",
    "is_pair",
    "iter_rows",
    "prompt_key",
    "read_pair",
    "scan",
]
