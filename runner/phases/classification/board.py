"""What was measured so far, model by model: scores, comparisons, and the tables people see."""

from typing import Any, NamedTuple

import prompts
from runner import results
from runner.measuring import Prediction, Probe, kept_predictions, list_probes
from runner.planning import label_requests
from runner.planning.recipe import Recipe
from runner.scoring.label_winner import Entry
from runner.scoring.labels import difference, hits_of, score_labels
from runner.scoring.winner import Verdict
from runner.turn import Turn

FINAL = "final"


class Measured(NamedTuple):
    """One model with its predictions for the probes."""

    label: str
    name: str
    """As tables show it."""
    base: str
    predictions: list[Prediction]


def probes_of(turn: Turn, recipe: Recipe) -> list[Probe]:
    """The rows that all models are asked."""
    return list_probes(recipe, turn.workspace.data)


def measured(turn: Turn, recipe: Recipe) -> list[Measured]:
    """All models that were asked, base models first."""
    found: list[Measured] = []
    for base in recipe.bases:
        label = label_requests.bench_label(recipe, base.name)
        found += _one(turn, recipe, label, f"{base.id}, not tuned", base.name)
    for candidate in recipe.candidates:
        name = f"{candidate.id}: {candidate.base_model.rsplit('/', 1)[-1]}, rank {candidate.lora_rank}"
        found += _one(turn, recipe, candidate.id, name, candidate.base_model)
    return [*found, *_one(turn, recipe, FINAL, "the final model", recipe.labels.strongest)]


def _one(turn: Turn, recipe: Recipe, label: str, name: str, base: str) -> list[Measured]:
    predictions = kept_predictions(turn, recipe, label)
    return [] if predictions is None else [Measured(label, name, base, predictions)]


def choice_hits(probes: list[Probe], model: Measured) -> list[float]:
    """1 for each row that the model gets right by choice."""
    return hits_of([probe.labels for probe in probes], [prediction.choice for prediction in model.predictions])


def entry_of(probes: list[Probe], model: Measured, size: float, loss: float | None = None) -> Entry:
    """The model as the comparison sees it."""
    return Entry(model.label, choice_hits(probes, model), size, loss)


def scores_of(recipe: Recipe, probes: list[Probe], model: Measured) -> dict[str, Any]:
    """Both ways of asking, each with all its scores."""
    truth = [probe.labels for probe in probes]
    labels, multi = recipe.labels.labels, recipe.labels.multi
    return {
        "label": model.label,
        "name": model.name,
        "choice": score_labels(truth, [p.choice for p in model.predictions], labels, multi),
        "free": score_labels(truth, [p.free for p in model.predictions], labels, multi),
        "tooLong": sum(not prediction.fits for prediction in model.predictions),
    }


def gains_of(probes: list[Probe], before: Measured, after: Measured) -> dict[str, Any]:
    """By how much one model is better than another on the same rows, by choice and freely."""
    truth = [probe.labels for probe in probes]
    free = [hits_of(truth, [prediction.free for prediction in model.predictions]) for model in (before, after)]
    choice = [choice_hits(probes, model) for model in (before, after)]
    return {"choice": difference(*choice), "free": difference(*free)}


def scoreboard(turn: Turn, recipe: Recipe) -> str:
    """All models with the verdict of the sweep."""
    probes = probes_of(turn, recipe)
    scores = [scores_of(recipe, probes, model) for model in measured(turn, recipe) if model.label != FINAL]
    kept = results.load(turn, recipe, "sweep")
    verdict = Verdict(**kept) if kept else None
    losses = {job.label: job for job in results.load_jobs(turn, recipe)}
    return prompts.render(
        "label_scoreboard.md.j2",
        recipe=recipe,
        scores=scores,
        jobs=losses,
        verdict=verdict,
        chosen=results.load(turn, recipe, "strongest"),
        probes=len(probes),
    )
