"""The steps of preference learning that belong to one deployment."""

from runner.calls import external_id
from runner.planning import judge_requests, requests
from runner.planning.recipe import Recipe


def measuring_steps(recipe: Recipe, resource: str) -> tuple[str, ...]:
    """The steps that have to be begun anew when the deployment `resource` was ended."""
    asked: dict[str, tuple[str, ...]] = (
        {"eval": ("load",)}
        | dict.fromkeys(judge_requests.NAMES, ())
        | {
            requests.trial_step(recipe, base.name): tuple(f"load-{one.id}" for one in recipe.tuned_from(base.name))
            for base in recipe.bases
        }
    )
    identifier = resource.rsplit("/", 1)[-1]
    name = next(name for name in asked if identifier == external_id(recipe.session, recipe.step(name)))
    return (name, *asked[name], f"ask-{name}", f"measure-{name}")
