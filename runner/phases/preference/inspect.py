"""Phase 1: as for every dataset, read as preference pairs [A161, A163].

Rows that are prompts only (format B) become pairs before training. Where that is done, it starts here: `PAIRS.read`
sees the kind of the rows in `report.kind`.
"""

from pathlib import Path

from langgraph.types import Command

from pilotlight.dataset import RowKind, ScanReport
from runner.data.findings import from_scan
from runner.data.pair_profile import profile_pairs
from runner.data.profile import Profile
from runner.phases.inspect import Reader, Reading, broken_lines, run_with
from runner.state import State
from runner.turn import Turn


def run(turn: Turn, state: State) -> Command[str]:
    """To planning; to clarify when the dataset holds no pairs."""
    return run_with(PAIRS, turn, state)


def _read(path: Path, report: ScanReport) -> Reading:
    profile, longer = profile_pairs(path, broken_lines(report))
    profile.findings += from_scan(report)
    return Reading(profile, {"longer_preferred": longer}, _why_useless(profile, report.kind))


def _why_useless(profile: Profile, kind: RowKind | None) -> str:
    if kind is RowKind.CHAT:
        return "its rows are conversations with one answer each; preference learning needs two answers to each prompt."
    if kind is RowKind.PROMPT:
        return "its rows are prompts without answers; making preference pairs of them is not part of this version."
    return "; ".join(finding.sentence() for finding in profile.findings) or "it is empty."


PAIRS = Reader("pairs", _read, "pair_inspection.md.j2")
