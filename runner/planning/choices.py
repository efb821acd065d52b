"""What a plan is free to choose, and how it is cut to fit a budget: the least painful cut first [GAP 16]."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from pilotlight.plan import Candidate

PROMPTS, FEWEST_PROMPTS = 150, 30
FIRST_HOUR, SHORTEST_HOURS = 1.0, 0.25


@dataclass(frozen=True)
class Choices:
    """The adjustable part of a plan; `epochs_set` forbids cutting epochs, `grid_set` cutting candidates."""

    candidates: tuple[Candidate, ...]
    final_epochs: float
    prompts: int
    deployment_hours: float
    epochs_set: bool
    grid_set: bool

    @property
    def sweep(self) -> bool:
        """More than one candidate has to be compared."""
        return len(self.candidates) > 1


def cuts(start: Choices) -> Iterator[tuple[Choices, list[str]]]:
    """The uncut choices, then ever smaller ones, each with all that was cut so far in words."""
    now, done = start, list[str]()
    yield now, done
    for hours in (0.5, SHORTEST_HOURS):
        if now.deployment_hours > hours:
            now, done = replace(now, deployment_hours=hours), [f"the deployment is approved for {hours:g} hours only"]
            yield now, done
    if now.prompts > FEWEST_PROMPTS:
        now = replace(now, prompts=FEWEST_PROMPTS)
        done = [*done, f"the task metrics use {FEWEST_PROMPTS} held-out prompts instead of {start.prompts}"]
        yield now, done
    while not start.grid_set and len(now.candidates) > 1:
        now = replace(now, candidates=_without_one(now.candidates))
        left, all_ = len(now.candidates), len(start.candidates)
        text = f"{left} of {all_} candidates are tried" if left > 1 else "the sweep is left out; one setting is trained"
        done = [*[item for item in done if "candidates" not in item], text]
        yield now, done
    while not start.epochs_set and max(now.final_epochs, *(c.epochs for c in now.candidates)) > 1:
        now = _fewer_epochs(now)
        text = f"training takes {now.final_epochs:g} epochs instead of {start.final_epochs:g}"
        done = [*[item for item in done if "epochs" not in item], text]
        yield now, done


def _without_one(candidates: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
    """Drop the last one, but keep the middle of the default grid to the end."""
    droppable = [c for c in candidates if c.lora_rank != 16] or list(candidates)
    return tuple(candidate for candidate in candidates if candidate is not droppable[-1])


def _fewer_epochs(choices: Choices) -> Choices:
    shorter = tuple(c.model_copy(update={"epochs": max(1.0, c.epochs - 1)}) for c in choices.candidates)
    return replace(choices, candidates=shorter, final_epochs=max(1.0, choices.final_epochs - 1))
