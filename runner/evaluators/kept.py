"""The evaluator of a session: two files that the user sees, and a record of what they were checked on."""

from typing import Any

from pydantic import BaseModel, ConfigDict

from runner.evaluators.scores import EvaluatorUnfit, digest_of
from runner.workspace import Workspace

SOURCE, SPEC = "outputs/evaluator.py", "outputs/eval_spec.md"
_RECORD = "state/evaluators/record.json"


class Record(BaseModel):
    """What is known about `outputs/evaluator.py`."""

    model_config = ConfigDict(extra="forbid")

    digest: str
    title: str
    author: str
    """`library`, or the name of the model that wrote it."""
    compares: bool
    wish: str
    """The scoring intent that it was written for."""
    checked_on: list[str]
    """Content hashes of the datasets that it passed its gate on."""


def keep(workspace: Workspace, source: str, spec: str, record: Record) -> None:
    """Write both files and the record, and a copy of the code that later files do not replace."""
    workspace.write_text(_copy(record.digest), source)
    workspace.write_text(SPEC, spec)
    workspace.write_text(SOURCE, source)
    save(workspace, record)


def save(workspace: Workspace, record: Record) -> None:
    """Keep the record."""
    workspace.write_json(_RECORD, record.model_dump(mode="json"))


def load(workspace: Workspace) -> Record | None:
    """The record of the evaluator that was written in this session; None before there is one.

    Raises EvaluatorUnfit when its files are not as they were written.
    """
    found: dict[str, Any] | None = workspace.read_json(_RECORD)
    if found is None:
        return None
    record = Record.model_validate(found)
    paths = [workspace.root / SOURCE, workspace.root / SPEC]
    if not all(path.is_file() and path.stat().st_size for path in paths):
        raise EvaluatorUnfit(f"{SOURCE} or {SPEC} is missing or empty.", hint="Ask for a new evaluator.")
    if digest_of(paths[0].read_text(encoding="utf-8")) != record.digest:
        raise EvaluatorUnfit(f"{SOURCE} is not what was written and checked.", hint="Ask for a new evaluator.")
    return record


def code_of(workspace: Workspace, digest: str) -> str:
    """The code that a plan was approved with. Raises EvaluatorUnfit when it is not there or was changed."""
    path = workspace.root / _copy(digest)
    source = path.read_text(encoding="utf-8") if path.is_file() else ""
    if digest_of(source) != digest:
        raise EvaluatorUnfit(f"The code of the approved evaluator {digest[:12]} is missing or was changed.")
    return source


def keep_code(workspace: Workspace, source: str) -> str:
    """Keep code that came from elsewhere, for code_of(); returns its digest."""
    digest = digest_of(source)
    workspace.write_text(_copy(digest), source)
    return digest


def _copy(digest: str) -> str:
    return f"state/evaluators/{digest}.py"


def in_fence(source: str) -> str:
    """A fence that nothing in the source can end."""
    runs = [len(run) for run in "".join(c if c == "`" else " " for c in source).split()]
    return "`" * max(3, max(runs, default=0) + 1)
