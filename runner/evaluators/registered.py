"""An evaluator of the account, by its name: fetched through the gateway, read strictly, and made one source to run.

It becomes what `runner.evaluators.scores.score` takes: `score(turn, found.source, cases, found.requirements)`. Nothing
of it is run here. Its packages are installed by the control process, once a plan that names them is approved.
"""

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

from pilotlight.errors import NotFound, PilotlightError
from pilotlight.names import parse_name
from pilotlight.requirements import parse_requirements
from pilotlight.sources import REQUIREMENTS, entry_of, unpack
from runner.evaluators.rows import Example
from runner.evaluators.scores import Case, EvaluatorUnfit, require_difference, score
from runner.sandbox.harness import as_source
from runner.turn import Turn

SHOWN = "outputs/registered_evaluator.txt"
_TRIED = 12
"""Rows; each is scored with its own answer and with that of another row."""


class Registered(NamedTuple):
    """An evaluator of the platform. `source` defines `evaluate(row, completion)`; `files` is what it is made of."""

    name: str
    title: str
    entry: str
    files: dict[str, str]
    requirements: tuple[str, ...]
    source: str
    digest: str
    """SHA-256 of the archive as it was fetched, in hex."""


def fetch(turn: Turn, name: str) -> Registered:
    """The evaluator `accounts/<account>/evaluators/<id>`, as it is now.

    Raises EvaluatorUnfit, in words for the user: there is none, it is not built, or its source cannot be used.
    """
    resource = _find(turn, str(parse_name(name, "evaluators")))
    path = turn.workspace.data / f"evaluator-{parse_name(name).id}.tar.gz"
    try:
        turn.client.download(f"/v1/{name}:downloadSource", path)
        return read(name, resource, path.read_bytes())
    except PilotlightError as error:
        raise EvaluatorUnfit(f"{name} cannot be used: {error.message}", hint=error.hint) from error


def read(name: str, resource: dict[str, Any], archive: bytes) -> Registered:
    """The same from a resource and its archive. Raises InvalidArgument."""
    files = unpack(archive)
    entry = entry_of(files, str(resource.get("entryPoint") or ""))
    requirements = parse_requirements(str(resource.get("requirements") or files.get(REQUIREMENTS, "")))
    title = str(resource.get("displayName") or parse_name(name).id)
    source = as_source({path: text for path, text in files.items() if path.endswith((".py", ".json"))}, entry)
    return Registered(name, title, entry, files, requirements, source, hashlib.sha256(archive).hexdigest())


def try_out(turn: Turn, source: str, examples: Sequence[Example], requirements: Sequence[str] = ()) -> None:
    """Score right answers, and those of other rows in their place; a user's own evaluator may be as strict as it likes.

    Raises EvaluatorUnfit when it fails on every one of them, or gives all the same score.
    """
    chosen = examples[:_TRIED]
    moved = [*chosen[1:], *chosen[:1]]
    cases = [Case(example.row, example.answer) for example in chosen]
    cases += [Case(example.row, other.answer) for example, other in zip(chosen, moved, strict=True)]
    scores = score(turn, source, cases, requirements)
    hint = "It could not tell the candidates apart. Correct it, or say `validation loss is fine`."
    require_difference(scores, "row", "right answers and those of other rows", hint)


def show(turn: Turn, found: Registered) -> None:
    """What will be run, in full, among the session's files."""
    text = [f"{found.name}, entry point {found.entry}, archive SHA-256 {found.digest}\n"]
    text += [f"\n--- {path}\n{content}" for path, content in sorted(found.files.items())]
    turn.workspace.write_text(SHOWN, "".join(text))
    turn.artifact(SHOWN, "The evaluator of the account, as it is run")


def _find(turn: Turn, name: str) -> dict[str, Any]:
    try:
        resource = turn.client.get(f"/v1/{name}")
    except NotFound as error:
        raise EvaluatorUnfit(
            f"Evaluator {name!r} not found in account.", hint="List yours with `firectl evaluator list`."
        ) from error
    except PilotlightError as error:
        raise EvaluatorUnfit(f"{name} cannot be read: {error.message}") from error
    if resource.get("state") != "ACTIVE":
        reason: dict[str, Any] = resource.get("status") or {}
        raise EvaluatorUnfit(
            f"{name} is {resource.get('state')}, not ACTIVE. {reason.get('message', '')}".strip(),
            hint=f"Its build log: `firectl evaluator log {parse_name(name).id}`.",
        )
    return resource
