"""Successive halving at work: decisions are written down before anything is stopped, so that a restart repeats none."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import prompts
from pilotlight.money import usd
from runner import results
from runner.jobs import JobResult, Run
from runner.planning.recipe import Recipe
from runner.scoring.halving import Weak, find_weaker
from runner.turn import Turn

_KEPT = "halving"


class Halving:
    """Looks at the runs of a sweep and stops the weaker half of those at a rung. Base models are not compared."""

    def __init__(self, turn: Turn, recipe: Recipe, before: Sequence[JobResult]) -> None:
        self._turn, self._recipe = turn, recipe
        self._epochs = max(candidate.epochs for candidate in recipe.candidates)
        self._losses = {result.label: _numbered(result.epoch_losses or {}) for result in before}
        self._decided: dict[str, dict[str, Any]] = results.load(turn, recipe, _KEPT)
        self._asked = set[str]()

    def pruned(self, label: str) -> dict[str, Any] | None:
        """What was decided about a run: `text`, `savedSeconds`, `savedUsd`; None for one that was not stopped."""
        return self._decided.get(label)

    def look(self, runs: Sequence[Run]) -> None:
        """Stop those that are weaker now."""
        self._losses |= {run.label: _numbered(run.losses) for run in runs if run.losses}
        running = {run.label: run for run in runs if run.running}
        bases = {self._recipe.candidate(run.label).base_model for run in running.values()}
        weaker = {label: weak for base in bases for label, weak in self._weaker(base).items() if label in running}
        new = {label: weak for label, weak in weaker.items() if label not in self._decided}
        if new:
            self._decided |= {label: self._describe(running[label], weak) for label, weak in new.items()}
            results.save(self._turn, self._recipe, _KEPT, self._decided)
        for label in [label for label in self._decided if label in running and label not in self._asked]:
            self._stop(running[label])

    def _weaker(self, base: str) -> dict[str, Weak]:
        mine = {c.id for c in self._recipe.candidates if c.base_model == base}
        return find_weaker({label: losses for label, losses in self._losses.items() if label in mine}, self._epochs)

    def _describe(self, run: Run, weak: Weak) -> dict[str, Any]:
        """What is left of the run, by the trainer's own estimate, is what stopping it saves."""
        hour = self._turn.context.prices.machine_hour
        money = None if hour is None or run.left is None else str(usd(Decimal(str(run.left)) / 3600 * hour))
        values = {"run": run, "weak": weak, "epochs": self._epochs}
        text = prompts.render("pruned.md.j2", **values).strip()
        return {"text": text, "savedSeconds": run.left, "savedUsd": money}

    def _stop(self, run: Run) -> None:
        self._turn.say(
            f"{run.label} is stopped: {self._decided[run.label]['text']}.",
            f"halving/{self._recipe.generation}/{run.label}",
        )
        self._turn.stop_jobs([run.name])
        self._asked.add(run.label)


def _numbered(losses: dict[str, float]) -> dict[float, float]:
    return {float(epochs): loss for epochs, loss in losses.items()}
