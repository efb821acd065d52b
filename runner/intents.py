"""Intents as plain JSON in the graph's state: merging what is said later over what was said before."""

from typing import Any

from runner.interpreter import interpret

_OF_ONE_TEXT = ("missing", "unsupported", "question")
DECLINED_WORKFLOWS = ("evaluator",)
"""Named in the documents, not run by this version."""


def read_text(text: str) -> dict[str, Any]:
    """What one text says: Intent fields, absent means not said."""
    return interpret(text).said()


def changes_of(old: dict[str, Any], said: dict[str, Any]) -> bool:
    """Whether what was said asks for anything else than before. A question asks for nothing."""
    if said.get("workflow") == "question":
        return False
    return bool(said.get("unsupported")) or merge(old, said) != merge(old, {})


def merge(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Later words win; what belongs to one text only (its question, its refusal) does not outlive it."""
    kept = {name: value for name, value in old.items() if name not in _OF_ONE_TEXT}
    if new.get("workflow") in ("question", "unsupported") or kept.get("workflow") in ("question", "unsupported"):
        kept.pop("workflow", None)
    if new.get("skip_sweep") is None and (new.get("lora_ranks") or new.get("learning_rates")):
        kept.pop("skip_sweep", None)
    return kept | {name: value for name, value in new.items() if name != "missing"}
