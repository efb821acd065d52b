"""Names of the steps that only a sweep by evaluator score takes: the deployments on which candidates answer."""

from runner.calls import external_id
from runner.planning import requests
from runner.planning.recipe import Recipe


def base_label(recipe: Recipe, base: str) -> str:
    """What the answers of an untuned base model are kept under."""
    return f"base{recipe.place(base)}"


def scoring_steps(recipe: Recipe, resource: str) -> tuple[str, ...]:
    """The steps that have to be begun anew when the deployment `resource` was ended."""
    identifier = resource.rsplit("/", 1)[-1]
    for base in recipe.bases:
        step = requests.trial_step(recipe, base.name)
        if identifier == external_id(recipe.session, recipe.step(step)):
            loads = (f"load-{one.id}" for one in recipe.tuned_from(base.name))
            return (step, *loads, f"ask-{step}")
    return ("eval", "load", "ask")
