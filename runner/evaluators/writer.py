"""An evaluator that the planner's model writes: in calls without tools, held to the same gate, with few repairs.

The model reads rows of the data; what it says becomes two texts, which are checked and never obeyed.
"""

import json
import re
from collections.abc import Sequence
from typing import NamedTuple

import prompts
from runner.evaluators import gate, trials
from runner.evaluators.draft import ROW_SECONDS, Draft, describe
from runner.evaluators.kinds import is_about_form
from runner.evaluators.rows import Example
from runner.evaluators.scores import EvaluatorUnfit, digest_of
from runner.model import ask_model
from runner.turn import Turn

ATTEMPTS = 3
"""The first and two repairs."""
_TOKENS = 4096
_ROWS_SHOWN = 8
_LONGEST_ROW = 1500
_LONGEST_SPEC = 8000
_BLOCK = re.compile(r"^(`{3,})(python|markdown)\s*\n(.*?)^\1\s*$", re.DOTALL | re.MULTILINE)


class Written(NamedTuple):
    """An evaluator that passed, and what its gate found."""

    draft: Draft
    report: gate.Report


def write_by_model(turn: Turn, wish: str, dataset: str, examples: Sequence[Example]) -> Written:
    """The first of at most three that passes its gate.

    Raises EvaluatorUnfit, with what was wrong with the last one, when none does; and what the gateway says when the
    model cannot be asked.
    """
    compares = not is_about_form(wish)
    messages = [{"role": "user", "content": _task(wish, dataset, examples)}]
    problems: list[str] = []
    for _ in range(ATTEMPTS):
        said = _ask_once(turn, messages)
        draft = _read(said, wish, dataset, compares, turn.context.planner_models[0])
        report = gate.check(turn, draft.source, examples, compares) if draft else None
        if draft and report and not report.problems:
            return Written(draft, report)
        problems = report.problems if report else [_FORM]
        messages += [{"role": "assistant", "content": said or "-"}, {"role": "user", "content": _repair(problems)}]
    raise EvaluatorUnfit(
        f"The model wrote {ATTEMPTS} evaluators, and none passed its checks. The last one: {' '.join(problems)}",
        hint='Say more exactly what is correct, or "validation loss is fine".',
    )


_FORM = "The answer must be one ```markdown block and one ```python block, both whole."


def _task(wish: str, dataset: str, examples: Sequence[Example]) -> str:
    shown = [_row(example) for example in trials.choose(examples, _ROWS_SHOWN)]
    values = {"wish": wish, "dataset": dataset, "rows": shown, "seconds": ROW_SECONDS, "slowest": gate.SLOWEST}
    return prompts.render("evaluator_task.md.j2", **values)


def _row(example: Example) -> str:
    text = json.dumps({"row": example.row, "a right completion": example.answer}, ensure_ascii=False)
    return text if len(text) <= _LONGEST_ROW else f"{text[:_LONGEST_ROW]} ... (cut)"


def _repair(problems: list[str]) -> str:
    return prompts.render("evaluator_repair.md.j2", problems=problems)


def _ask_once(turn: Turn, messages: list[dict[str, str]]) -> str:
    """The answer to these messages, kept: a restart does not pay for it again. Empty where it was cut."""
    path = f"state/evaluators/said-{digest_of(json.dumps(messages))[:16]}.json"
    if (known := turn.workspace.read_json(path)) is None:
        said = ask_model(turn, prompts.render("evaluator_system.md.j2"), messages, _TOKENS)
        known = {"text": said.text if said.whole else ""}
        turn.workspace.write_json(path, known)
    return str(known["text"])


def _read(said: str, wish: str, dataset: str, compares: bool, model: str) -> Draft | None:
    """The two texts of an answer; None where it has another form."""
    blocks = [(match[2], match[3].strip()) for match in _BLOCK.finditer(said)]
    if sorted(kind for kind, _ in blocks) != ["markdown", "python"]:
        return None
    parts = dict(blocks)
    if not parts["python"] or not parts["markdown"] or len(parts["markdown"]) > _LONGEST_SPEC:
        return None
    title = "Written for this data"
    spec = describe(title, dataset, wish, f"written by the model {model}", parts["markdown"])
    return Draft(parts["python"] + "\n", spec, title, compares, model)
