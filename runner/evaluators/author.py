"""Write the session's evaluator, put it through its gate, and show it; or take up the one that there is."""

from typing import Any

import prompts
from pilotlight.errors import PermissionDenied, ResourceExhausted
from runner.data.store import load_facts, load_source
from runner.evaluators import gate, kept
from runner.evaluators.draft import Draft, write_from_library
from runner.evaluators.kept import SOURCE, SPEC, Record
from runner.evaluators.kinds import choose_kind
from runner.evaluators.rows import Example, read_examples
from runner.evaluators.scores import EvaluatorUnfit, digest_of
from runner.evaluators.writer import write_by_model
from runner.turn import Turn


def provide(turn: Turn, intent: dict[str, Any]) -> Record:
    """The evaluator for the staged dataset: the one that was written for the same wish, else a new one.

    Raises EvaluatorUnfit, in words for the user, when none can be written or it does not pass its gate.
    """
    wish = str(intent.get("scoring_intent") or "")
    try:
        record = kept.load(turn.workspace)
    except EvaluatorUnfit:
        record = None  # a changed one is no reason not to write another
    if record is not None and record.wish == wish and _content(turn) in record.checked_on:
        return record
    return _write(turn, wish)


def reuse(turn: Turn) -> Record:
    """The evaluator that was written before, not written anew; checked anew where the data is another one.

    Raises EvaluatorUnfit when there is none, or when it does not fit the data.
    """
    record = kept.load(turn.workspace)
    if record is None:
        raise EvaluatorUnfit(
            "No evaluator was written in this session yet.",
            hint='Say "generate an evaluator for me", name one of your account, or say "validation loss is fine".',
        )
    if _content(turn) in record.checked_on:
        return record
    source = kept.code_of(turn.workspace, record.digest)
    report = gate.check(turn, source, read_staged(turn), record.compares)
    _require(report, "The evaluator that was written before does not fit this dataset.")
    record = record.model_copy(update={"checked_on": [*record.checked_on, _content(turn)]})
    kept.save(turn.workspace, record)
    return record


def read_staged(turn: Turn) -> list[Example]:
    """Rows of the staged dataset with their right answers. Raises EvaluatorUnfit when there are none [A211]."""
    source = load_source(turn.workspace, "train")
    found = read_examples(source.path, source.profile.lines) if source else []
    if not found:
        raise EvaluatorUnfit(
            "The data has no row with a right answer, so there is nothing to score against.",
            hint="Rows need a ground_truth, or have to end with the assistant's answer.",
        )
    return found


def _write(turn: Turn, wish: str) -> Record:
    examples, dataset = read_staged(turn), str((load_facts(turn.workspace, "train") or {})["name"])
    if turn.context.planner_models:
        try:
            return _finish(turn, *write_by_model(turn, wish, dataset, examples), wish)
        except (PermissionDenied, ResourceExhausted) as error:
            turn.say(prompts.render("evaluator_no_model.md.j2", reason=str(error)), "evaluator/no-model")
    draft = write_from_library(choose_kind(wish, [example.truth for example in examples]), dataset, wish)
    report = gate.check(turn, draft.source, examples, draft.compares)
    _require(report, f'The evaluator "{draft.title}" does not fit this data, so it is not used.')
    return _finish(turn, draft, report, wish)


def _finish(turn: Turn, draft: Draft, report: gate.Report, wish: str) -> Record:
    spec = draft.spec + "\n" + prompts.render("evaluator_gate.md.j2", report=report)
    record = Record(
        digest=digest_of(draft.source),
        title=draft.title,
        author=draft.author,
        compares=draft.compares,
        wish=wish,
        checked_on=[_content(turn)],
    )
    kept.keep(turn.workspace, draft.source, spec, record)
    show(turn, record)
    return record


def show(turn: Turn, record: Record) -> None:
    """Both files in full, in the chat and as artifacts [A205]."""
    source, spec = ((turn.workspace.root / path).read_text(encoding="utf-8") for path in (SOURCE, SPEC))
    turn.artifact(SPEC, "What the evaluator counts as correct")
    turn.artifact(SOURCE, "The evaluator")
    key = f"evaluator/{record.digest[:12]}"
    turn.say(prompts.render("evaluator_spec.md.j2", title=record.title, spec=spec.strip()), f"{key}/spec")
    values = {"source": source.strip(), "fence": kept.in_fence(source), "digest": record.digest}
    turn.say(prompts.render("evaluator_source.md.j2", **values), f"{key}/source")


def _require(report: gate.Report, what: str) -> None:
    if report.problems:
        raise EvaluatorUnfit(
            f"{what} {' '.join(report.problems)}",
            hint='Say what else to compare, or "validation loss is fine".',
        )


def _content(turn: Turn) -> str:
    return str((load_facts(turn.workspace, "train") or {}).get("content_hash", ""))
