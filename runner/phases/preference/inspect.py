"""Phase 1: as for every dataset, read as preference pairs [A161, A163].

Rows that are prompts only (format B) become pairs before training, see runner.phases.preference.generate.
"""

from pathlib import Path

from langgraph.types import Command

from pilotlight.dataset import RowKind, ScanReport
from runner.data.findings import from_scan
from runner.data.pair_profile import profile_pairs
from runner.data.profile import Profile
from runner.data.prompt_profile import profile_prompts
from runner.phases.inspect import Reader, Reading, broken_lines, run_with
from runner.state import State
from runner.turn import Turn


def run(turn: Turn, state: State) -> Command[str]:
    """To planning; to clarify when the dataset holds no pairs."""
    return run_with(PAIRS, turn, state)


def _read(path: Path, report: ScanReport) -> Reading:
    if report.kind is RowKind.PROMPT:
        prompts = profile_prompts(path, broken_lines(report))
        prompts.findings += from_scan(report)
        return Reading(prompts, {"longer_preferred": 0.0, "prompts_only": True}, _why_useless(prompts, report.kind))
    profile, longer = profile_pairs(path, broken_lines(report))
    profile.findings += from_scan(report)
    return Reading(profile, {"longer_preferred": longer, "prompts_only": False}, _why_useless(profile, report.kind))


def _why_useless(profile: Profile, kind: RowKind | None) -> str:
    if kind is RowKind.CHAT:
        return "its rows are conversations with one answer each; preference learning needs two answers to each prompt."
    return "; ".join(finding.sentence() for finding in profile.findings) or "it is empty."


PAIRS = Reader("pairs", _read, "pair_inspection.md.j2")
