"""Spending requests that only a sweep by evaluator score makes: the deployments on which candidates answer.

As in runner.planning.requests, plans grant exactly these and phases send exactly these.
"""

from pilotlight.plan import Candidate
from runner.calls import Call, external_id
from runner.planning import requests
from runner.planning.recipe import Recipe


def base_label(recipe: Recipe, base: str) -> str:
    """What the answers of an untuned base model are kept under."""
    return f"base{_place(recipe, base)}"


def trial_step(recipe: Recipe, base: str) -> str:
    """The name of the deployment of this base model in the sweep."""
    return f"trial{_place(recipe, base)}"


def trial_deployment(recipe: Recipe, base: str) -> Call:
    """The base model with addons enabled: it and its candidates answer on the same replica [P71]."""
    return requests.deployment(recipe, recipe.step(trial_step(recipe, base)), base, {"enableAddons": True})


def trial_load(recipe: Recipe, candidate: Candidate) -> Call:
    """A candidate loaded onto the deployment of its base model."""
    step = recipe.step(trial_step(recipe, candidate.base_model))
    deployment = f"accounts/{recipe.account}/deployments/{external_id(recipe.session, step)}"
    body = {"model": candidate_model(recipe, candidate), "deployment": deployment}
    path = f"/v1/accounts/{recipe.account}/deployedModels"
    return Call(recipe.step(f"load-{candidate.id}"), requests.LOAD_LORA, "POST", path, {}, body)


def candidate_model(recipe: Recipe, candidate: Candidate) -> str:
    """The model that the candidate's own run makes."""
    return str(requests.candidate_job(recipe, candidate).body["outputModel"])


def scoring_steps(recipe: Recipe, resource: str) -> tuple[str, ...]:
    """The steps that have to be begun anew when the deployment `resource` was ended."""
    identifier = resource.rsplit("/", 1)[-1]
    for base in recipe.bases:
        step = trial_step(recipe, base.name)
        if identifier == external_id(recipe.session, recipe.step(step)):
            loads = (f"load-{one.id}" for one in recipe.candidates if one.base_model == base.name)
            return (step, *loads, f"ask-{step}")
    return ("eval", "load", "ask")


def _place(recipe: Recipe, base: str) -> int:
    return next(place for place, facts in enumerate(recipe.bases, 1) if facts.name == base)
