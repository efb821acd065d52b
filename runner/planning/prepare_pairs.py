"""Collect what a preference plan follows from: pairs of both sides, beside what every plan needs."""

from typing import Any

from runner.data.store import load_facts
from runner.planning.catalogue import BaseFacts, list_bases
from runner.planning.draft import Draft
from runner.planning.prefer import draft_preference
from runner.planning.prepare import collect, split_data
from runner.turn import Turn

_EVERYTHING = 10**9
"""Without a wish of the user the sweep is not on a sample: its runs are the training."""


def plan_preference(turn: Turn, intent: dict[str, Any], bases: list[BaseFacts], generation: int) -> Draft:
    """A plan for these base models; raises FailedPrecondition, with what to say to the user, where there is none."""
    sides = split_data(turn, {"hp_samples": _EVERYTHING} | intent)
    # Both conversations of a pair count as its tokens, and each of them alone has to fit into the context.
    inputs = collect(turn, intent, sides, bases, generation, without=("over_long",))
    facts = load_facts(turn.workspace, "train") or {}
    known = [] if intent.get("base_models") else [base.name for base in list_bases(turn.client, turn.context.account)]
    return draft_preference(inputs, float(facts["longer_preferred"]), known)
