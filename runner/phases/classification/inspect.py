"""Phase 1: as for every dataset, and then its labels: by which rule, how many rows each, how uneven, what is odd."""

from typing import Any

from langgraph.types import Command

import prompts
from pilotlight.errors import FailedPrecondition
from pilotlight.plan import Phase
from runner.phases import inspect
from runner.planning.label_facts import collect_labels
from runner.planning.prepare_labels import labelled_sides
from runner.state import State
from runner.turn import Turn


def run(turn: Turn, state: State) -> Command[str]:
    """To planning; to clarify when the dataset cannot be used or no labels are found."""
    generation = state.get("generation", 1)
    command = inspect.run(turn, state)
    if command.goto != "plan_propose":
        return command
    try:
        text = _describe(turn, state.get("intent", {}))
    except FailedPrecondition as error:
        return Command(goto="clarify_propose", update={"clarify": {"reason": "labels", "note": str(error)}})
    turn.workspace.write_text("outputs/labels.md", text)
    turn.artifact("outputs/labels.md", "The labels and their rows")
    turn.say(text, f"{Phase.INSPECT.value}/labels/{generation}")
    return Command(goto="plan_propose")


def _describe(turn: Turn, intent: dict[str, Any]) -> str:
    train, evaluation = labelled_sides(turn, intent)
    facts, _ = collect_labels(train, evaluation, intent)
    return prompts.render("labels.md.j2", facts=facts, rows=train.source.profile.usable)
