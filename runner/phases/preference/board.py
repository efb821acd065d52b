"""What was measured so far, model by model, as people see it; who wins; and whether the target is reached.

Another way of judging (a win rate by a judge, scores by an evaluator) adds its numbers to the rows that scored() makes,
under the name of its metric; reached() finds them there.
"""

import operator
from collections.abc import Callable
from typing import Any, NamedTuple

import prompts
from pilotlight.tasks import Goal
from runner import results
from runner.pair_measuring import Probe, Reading, kept_readings, list_pairs
from runner.planning.label_requests import bench_label
from runner.planning.recipe import Recipe
from runner.scoring.pairs import Entry, Likelihood, choose_preferred, hits_of, likely, score_base, score_tuned
from runner.scoring.winner import Verdict
from runner.turn import Turn

FINAL = "final"
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
}


class Measured(NamedTuple):
    """One model with what it made of the pairs. `base` is the name of its base model, `tuned` whether it is another."""

    label: str
    name: str
    """As tables show it."""
    base: str
    tuned: bool
    readings: list[Reading]


def pairs_of(turn: Turn, recipe: Recipe) -> list[Probe]:
    """The held-out pairs that all models are asked about."""
    return list_pairs(recipe, turn.workspace.data)


def measured(turn: Turn, recipe: Recipe, winner: str = "") -> list[Measured]:
    """All models that were asked, base models first; the final model is that of `winner`."""
    found: list[Measured] = []
    for base in recipe.bases:
        found += _one(turn, recipe, bench_label(recipe, base.name), f"{base.id}, not tuned", base.name, False)
    for candidate in recipe.candidates:
        name = f"{candidate.id}: {candidate.base_model.rsplit('/', 1)[-1]}, {candidate.settings()}"
        found += _one(turn, recipe, candidate.id, name, candidate.base_model, True)
    if winner:
        found += _one(turn, recipe, FINAL, "the final model", recipe.candidate(winner).base_model, True)
    return found


def _one(turn: Turn, recipe: Recipe, label: str, name: str, base: str, tuned: bool) -> list[Measured]:
    readings = kept_readings(turn, recipe, label)
    return [] if readings is None else [Measured(label, name, base, tuned, readings)]


def shared(models: list[Measured]) -> dict[str, list[Likelihood]]:
    """The likelihoods by label, of those pairs that are not too long for any of the models."""
    places = range(len(models[0].readings)) if models else range(0)
    kept = [at for at in places if all(model.readings[at].likelihood is not None for model in models)]
    return {model.label: [one for at in kept if (one := model.readings[at].likelihood)] for model in models}


def scored(turn: Turn, recipe: Recipe, winner: str = "") -> list[dict[str, Any]]:
    """One row per model that was asked: its scores, and those of its training run. Empty without a usable pair."""
    models = measured(turn, recipe, winner)
    known = shared(models)
    if not any(known.values()):
        return []
    jobs = {job.label: job for job in results.load_jobs(turn, recipe)}
    rows: list[dict[str, Any]] = []
    for model in models:
        base = known.get(bench_label(recipe, model.base), [])
        mine = known[model.label]
        job = jobs.get(model.label)
        rows.append(
            {"label": model.label, "name": model.name, "base": model.base, "tuned": model.tuned, "pairs": len(mine)}
            | (score_tuned(base, mine) if model.tuned else score_base(mine))
            | {"evalLoss": job.eval_loss if job else None, "loss": job.loss if job else None}
            | {"judged": wins_of(turn, recipe, model.label)}
            | {"win_rate": wins_of(turn, recipe, model.label).get("winRate")}
            | {"characters": sum(len(reading.text) for reading in model.readings) / len(model.readings)}
        )
    return rows


def wins_of(turn: Turn, recipe: Recipe, label: str) -> dict[str, Any]:
    """How a tuned model's answers did against its base model's (see pairwise.summarise()); empty before that."""
    return results.load(turn, recipe, f"wins-{label}")


def reached(goal: Goal, row: dict[str, Any]) -> bool | None:
    """Whether one model's row reaches the goal; None where the row does not hold its metric."""
    value = row.get({"eval_loss": "evalLoss"}.get(goal.metric, goal.metric))
    if not goal.measured or value is None or isinstance(goal.value, str):
        return None
    return _COMPARE[goal.op](float(value if isinstance(value, int | float) else value[0]), goal.value)


def verdict_of(turn: Turn, recipe: Recipe) -> Verdict | None:
    """The proposed winner among the candidates that were asked; None when there is none."""
    models = [model for model in measured(turn, recipe) if model.label != FINAL]
    known = shared(models)
    sizes = {base.name: float(base.parameters or 0) for base in recipe.bases}
    entries = [
        Entry(model.label, model.base, hits_of(known[model.label]), likely(known[model.label]), sizes[model.base])
        for model in models
        if model.tuned and known[model.label]
    ]
    if not entries:
        return None
    if judged := _judged_verdict(turn, recipe, entries):
        return judged
    return choose_preferred(entries, {model.base: hits_of(known[model.label]) for model in models if not model.tuned})


def _judged_verdict(turn: Turn, recipe: Recipe, entries: list[Entry]) -> Verdict | None:
    """The winner by win rate, where that decides; None else.

    Win rates are against each model's own base, so they rank the candidates of one base model only.
    """
    points = [wins_of(turn, recipe, entry.name).get("points", {}) for entry in entries]
    shared_prompts = set[str].intersection(*(set(one) for one in points))
    if not recipe.preference.by_wins or not shared_prompts or len({entry.base for entry in entries}) > 1:
        return None
    order = sorted(shared_prompts)
    ranked = [
        entry._replace(hits=[one[prompt] for prompt in order]) for entry, one in zip(entries, points, strict=True)
    ]
    return choose_preferred(ranked, {entries[0].base: [0.5] * len(order)}, "win rate against the base model")


def scoreboard(turn: Turn, recipe: Recipe) -> str:
    """All models of the sweep with its verdict."""
    kept = results.load(turn, recipe, "sweep")
    return prompts.render(
        "pair_scoreboard.md.j2",
        recipe=recipe,
        rows=scored(turn, recipe),
        jobs={job.label: job for job in results.load_jobs(turn, recipe)},
        verdict=Verdict(**kept) if kept else None,
        stopped=results.load(turn, recipe, "early-stop"),
    )
