"""Results of the phases, kept in the workspace for the phases after them."""

from typing import Any

from runner.jobs import JobResult
from runner.planning.recipe import Recipe
from runner.turn import Turn

RECIPE = "state/recipe.json"


def load_recipe(turn: Turn) -> Recipe:
    """The approved recipe."""
    return Recipe.model_validate(turn.workspace.read_json(RECIPE))


def save_jobs(turn: Turn, recipe: Recipe, results: list[JobResult]) -> None:
    """Merge job results by label into those of this plan."""
    kept = {result.label: result for result in load_jobs(turn, recipe)}
    kept |= {result.label: result for result in results}
    turn.workspace.write_json(_path(recipe, "jobs"), [result._asdict() for result in kept.values()])


def load_jobs(turn: Turn, recipe: Recipe) -> list[JobResult]:
    """The job results of this plan so far, of what it still contains."""
    labels = {"final", *(candidate.id for candidate in recipe.candidates)}
    kept = [JobResult(**item) for item in turn.workspace.read_json(_path(recipe, "jobs"), [])]
    return [result for result in kept if result.label in labels]


def save(turn: Turn, recipe: Recipe, name: str, value: dict[str, Any]) -> None:
    """Keep the result of a phase."""
    turn.workspace.write_json(_path(recipe, name), value)


def load(turn: Turn, recipe: Recipe, name: str) -> dict[str, Any]:
    """The result of a phase; empty when it did not run."""
    return turn.workspace.read_json(_path(recipe, name), {})


def asked_models(turn: Turn, recipe: Recipe) -> list[str]:
    """Labels of the models whose predictions for all rows are kept."""
    prefix = f"{recipe.generation}-predictions-"
    kept = (turn.workspace.root / _path(recipe, "")).parent.glob(f"{prefix}*.json")
    labels = sorted(path.stem.removeprefix(prefix) for path in kept)
    return [label for label in labels if load(turn, recipe, f"predictions-{label}")["complete"]]


def _path(recipe: Recipe, name: str) -> str:
    return f"state/results/{recipe.generation}-{name}.json"
