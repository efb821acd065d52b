"""Intents as plain JSON in the graph's state: merging what is said later over what was said before."""

from typing import Any

from runner.interpreter import interpret

_OF_ONE_TEXT = ("missing", "unsupported", "question")
_OF_ONE_DATASET = ("eval_dataset", "labels", "label_count", "label_rule", "drop_labels")
DECLINED_WORKFLOWS: tuple[str, ...] = ()
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
    """Later words win; what belongs to one text only (its question, its refusal) does not outlive it.

    A question changes nothing of what was asked for. New work on another dataset forgets what was said about the first.
    """
    kept = {name: value for name, value in old.items() if name not in _OF_ONE_TEXT}
    if new.get("workflow") == "question":
        return kept | {"question": new.get("question", "")}
    if new.get("workflow") == "unsupported" or kept.get("workflow") in ("question", "unsupported"):
        kept.pop("workflow", None)
    for name in _outlived(kept, new):
        kept.pop(name, None)
    return kept | {name: value for name, value in new.items() if name != "missing"}


def _outlived(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """What was said before and no longer holds, though nobody took it back in words."""
    names: list[str] = []
    moves = bool(new.get("workflow") and new.get("train_dataset"))
    if moves and old.get("train_dataset") not in (None, new["train_dataset"]):
        names += _OF_ONE_DATASET
    listed = bool(new.get("lora_ranks") or new.get("learning_rates"))
    if new.get("skip_sweep") is None and (listed or new.get("grid")):
        names.append("skip_sweep")
    if listed != bool(new.get("grid")):
        names += ["grid"] if listed else ["lora_ranks", "learning_rates"]
    if new.get("evaluation") is not None and "evaluator" not in new:
        names.append("evaluator")
    if new.get("benchmark_only") is None and new.get("workflow"):
        names.append("benchmark_only")
    return names
