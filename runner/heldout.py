"""Losses by held-out row, as the trainer keeps them: fetched once per job, kept, and laid open in `outputs/`."""

import json
from typing import Any, NamedTuple

from runner import results
from runner.jobs import JobResult
from runner.planning.recipe import Recipe
from runner.scoring.intervals import Interval
from runner.scoring.losses import loss_difference, loss_interval
from runner.turn import Turn

FILE = "outputs/heldout_losses.jsonl"
_FIELD = "localHeldoutLosses"


class RowLosses(NamedTuple):
    """One model on the held-out rows: tokens that carry loss, and their summed loss, before and after training."""

    tokens: list[int]
    base: list[float]
    tuned: list[float]

    @property
    def loss(self) -> Interval:
        """Mean loss per token."""
        return loss_interval(self.tuned, self.tokens)

    @property
    def base_loss(self) -> Interval:
        """The same of the base model."""
        return loss_interval(self.base, self.tokens)

    @property
    def change(self) -> Interval:
        """Tuned minus base: below 0 is better."""
        return loss_difference(self.tuned, self.base, self.tokens)


def keep(turn: Turn, recipe: Recipe, jobs: list[JobResult]) -> None:
    """Fetch what a platform tells of these jobs that have a model, and write the file anew."""
    for job in [job for job in jobs if job.done]:
        if not results.load(turn, recipe, _name(job.label)):
            found = turn.client.get(f"/v1/{job.name}", readMask=f"name,{_FIELD}").get(_FIELD)
            if found:
                results.save(turn, recipe, _name(job.label), found)
    _publish(turn, recipe)


def load(turn: Turn, recipe: Recipe) -> dict[str, RowLosses]:
    """By candidate ID, or `final`; only of those that the platform told."""
    labels = [candidate.id for candidate in recipe.candidates] + ["final"]
    kept = {label: results.load(turn, recipe, _name(label)) for label in labels}
    return {label: RowLosses(**found) for label, found in kept.items() if found}


def _publish(turn: Turn, recipe: Recipe) -> None:
    found = load(turn, recipe)
    if not found:
        return
    lines: list[str] = []
    for place in range(max(len(losses.tokens) for losses in found.values())):
        models: dict[str, Any] = {
            label: {"tokens": one.tokens[place], "base": one.base[place], "tuned": one.tuned[place]}
            for label, one in found.items()
        }
        lines.append(json.dumps({"heldoutRow": place + 1, "models": models}) + "\n")
    turn.workspace.write_text(FILE, "".join(lines))
    turn.artifact(FILE, "Validation loss by held-out row")


def _name(label: str) -> str:
    return f"heldout-{label}"
