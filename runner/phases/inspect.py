"""Phase 1: stage the dataset once, check it, and say what is in it [A93, A128]."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from langgraph.types import Command

import prompts
from pilotlight.dataset import RowKind, ScanReport, Severity, scan
from pilotlight.errors import FailedPrecondition, NotFound, PilotlightError
from pilotlight.names import parse_name
from pilotlight.plan import Phase
from runner.data.findings import from_scan
from runner.data.profile import CHARACTERS_PER_TOKEN, TOKENS_PER_MESSAGE, Profile, is_label, profile_file
from runner.data.sides import Source
from runner.data.store import load_facts, load_source, save_source
from runner.planning.prepare import list_findings
from runner.state import State
from runner.turn import Turn


class Reading(NamedTuple):
    """A profiled file: `facts` are kept with it; `useless` says why no row of it can be trained on."""

    profile: Profile
    facts: dict[str, Any]
    useless: str


class Reader(NamedTuple):
    """How rows of one kind are profiled and described."""

    kind: str
    read: Callable[[Path, ScanReport], Reading]
    template: str


def run(turn: Turn, state: State) -> Command[str]:
    """To planning; to clarify when the dataset cannot be used."""
    return run_with(CHAT, turn, state)


def run_with(reader: Reader, turn: Turn, state: State) -> Command[str]:
    """The same for rows of another kind."""
    intent, generation = state.get("intent", {}), state.get("generation", 1)
    turn.phase(Phase.INSPECT, "started", generation)
    try:
        source = _inspect(reader, turn, "train", str(intent["train_dataset"]))
        evaluation = intent.get("eval_dataset")
        other = _inspect(reader, turn, "eval", str(evaluation)) if evaluation else None
    except (NotFound, FailedPrecondition) as error:
        return Command(goto="clarify_propose", update={"clarify": {"reason": "dataset", "note": str(error)}})
    text = _describe(reader, turn, source, other)
    turn.workspace.write_text("outputs/inspection.md", text)
    turn.artifact("outputs/inspection.md", "What is in the data")
    turn.say(text, f"inspect/{generation}")
    summary = f"{source.profile.usable:,} usable rows of {source.profile.rows:,}"
    turn.phase(Phase.INSPECT, "completed", generation, summary=summary)
    return Command(goto="plan_propose")


def _describe(reader: Reader, turn: Turn, source: Source, other: Source | None) -> str:
    facts = load_facts(turn.workspace, "train") or {}
    return prompts.render(
        reader.template,
        dataset=source.name,
        profile=source.profile,
        facts=facts,
        labels=facts["labels"],
        named={label: count for label, count in facts["labels"].items() if is_label(label)},
        other=other,
        token_method=facts["token_method"],
        scale=facts["token_scale"],
        findings=list_findings(source, other, []),
    )


def _inspect(reader: Reader, turn: Turn, role: str, name: str) -> Source:
    dataset = _find(turn, name)
    digest = str(dataset.get("contentHash") or "").rsplit(":", 1)[-1]
    facts = load_facts(turn.workspace, role)
    known = bool(facts) and facts["name"] == name and facts.get("kind", CHAT.kind) == reader.kind
    kept = load_source(turn.workspace, role) if known else None
    if kept is not None and facts is not None and digest in ("", facts["content_hash"]):
        return kept
    path = turn.workspace.data / f"{role}-{parse_name(name).id}.jsonl"
    found = turn.client.download(f"/v1/{name}:download", path)
    if digest and found != digest:
        raise FailedPrecondition(f"{name} did not arrive as it is stored: its content hash differs.")
    reading = reader.read(path, scan(path))
    source = Source(name, path, reading.profile)
    if source.profile.usable == 0:
        raise FailedPrecondition(f"{name} has no row that can be trained on: {reading.useless}")
    more = {"kind": reader.kind, "content_hash": found, **_token_facts(dataset, source.profile)}
    save_source(turn.workspace, role, source, more | reading.facts)
    return source


def _read_chat(path: Path, report: ScanReport) -> Reading:
    profile = profile_file(path, broken_lines(report))
    profile.findings += from_scan(report)
    return Reading(profile, {}, _why_useless(profile, report.kind))


def broken_lines(report: ScanReport) -> dict[int, str]:
    """Line numbers that the format check refused, with its reasons."""
    return {finding.line: finding.reason for finding in report.of(Severity.ERROR)}


def _token_facts(dataset: dict[str, Any], profile: Profile) -> dict[str, Any]:
    """How our rough count becomes tokens: by base model where the platform counted for it, else by its one estimate."""
    rough, estimated = profile.total_tokens, int(dataset.get("estimatedTokenCount") or 0)
    counts: dict[str, str] = dataset.get("estimatedTokenCounts") or {}
    if counts:
        method = "counted on a sample of the rows with the base model's tokenizer"
    elif estimated:
        method = "the platform's estimate"
    else:
        method = f"estimated: characters / {CHARACTERS_PER_TOKEN:g} + {TOKENS_PER_MESSAGE} per message"
    scales = {base: int(count) / rough for base, count in counts.items()}
    return {"token_method": method, "token_scale": estimated / rough if estimated else 1.0, "token_scales": scales}


def _why_useless(profile: Profile, kind: RowKind | None) -> str:
    if kind is RowKind.PREFERENCE:
        return (
            "its rows are preference pairs, and supervised fine-tuning learns from conversations. Say `Run DPO on it`."
        )
    if kind is RowKind.PROMPT:
        return "its rows are prompts without answers (no assistant message, no ground_truth)."
    return "; ".join(finding.sentence() for finding in profile.findings) or "it is empty."


def _find(turn: Turn, name: str) -> dict[str, Any]:
    try:
        dataset = turn.client.get(f"/v1/{name}")
    except NotFound as error:
        raise NotFound(f"There is no dataset {name}.", hint="List yours with `firectl dataset list`.") from error
    except PilotlightError as error:
        raise FailedPrecondition(f"{name} cannot be read: {error.message}") from error
    if dataset.get("state") != "READY":
        raise FailedPrecondition(f"{name} is {dataset.get('state')}, not READY.", hint="Finish its upload first.")
    return dataset


CHAT = Reader("chat", _read_chat, "inspection.md.j2")
