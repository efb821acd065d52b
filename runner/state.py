"""The planner's place in the work: a small TypedDict of plain JSON. Content lives in workspace files [DESIGN 4]."""

from typing import Any, TypedDict

GRAPH_VERSION = 1
"""The shape that waiting sessions depend on; a session that was started under another one is refused, not resumed.

May change freely: what a node does, new nodes that nobody waits at, new State keys that may be absent, new questions.
Raise it when a node is renamed or removed, when a State key is removed or means something else, when a gate's interrupt
value changes, or when a workspace file that a later node reads gets another form. Before a release: `python -m
tests.golden.make` keeps a session at each gate, and tests/golden resumes those of every earlier release.
"""

NODES = (
    "begin",
    "answer",
    "clarify_propose",
    "clarify_gate",
    "clarify_act",
    "inspect",
    "plan_propose",
    "plan_gate",
    "plan_act",
    "sweep",
    "promotion_propose",
    "promotion_gate",
    "promotion_act",
    "train",
    "evaluate",
    "comparison_propose",
    "comparison_gate",
    "comparison_act",
    "deploy",
    "report",
    "trouble_propose",
    "trouble_gate",
    "trouble_act",
    "increase_propose",
    "increase_gate",
    "increase_act",
)
"""Frozen: renaming a node where a session waits would end its run silently (research/durable-sessions 1.2 d)."""


class Pending(TypedDict):
    """The question a gate waits for, as far as the graph needs it."""

    question_id: str
    digest: str
    """What the answer must refer to: the plan hash for approvals, else the digest of the question."""


class State(TypedDict, total=False):
    """All that LangGraph keeps; under 10 KB."""

    graph_version: int
    seen: int
    """How many of the session's instructions have been read."""
    intent: dict[str, Any]
    """What the user asked for so far: Intent fields, absent means not said."""
    asked: int
    """Questions asked so far; part of each question's ID."""
    pending: Pending
    generation: int
    """Approved plans so far plus one: part of the names of what a plan creates."""
    approved: bool
    """Whether the plan of this generation was approved."""
    plan_hash: str
    winner: str
    """ID of the promoted candidate."""
    trouble: dict[str, Any]
    """Why the work stopped: {phase, message}."""
    increase: dict[str, Any]
    """What met its approved limit: {phase, stops}, the stops as pilotlight.plan.Stop."""
    clarify: dict[str, Any]
    """What has to be asked: {reason, notes}."""
