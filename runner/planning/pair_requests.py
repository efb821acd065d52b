"""Requests that only preference learning makes: deployments of base models with candidates, and how they are asked.

As in runner.planning.requests, plans grant exactly these and phases send exactly these.
"""

from typing import Any

from pilotlight.plan import Candidate
from runner.calls import Call, external_id
from runner.planning import judge_requests, requests
from runner.planning.catalogue import BaseFacts
from runner.planning.label_requests import bench_label
from runner.planning.recipe import Recipe


def trial(recipe: Recipe, base: str) -> str:
    """The name of the deployment of a base model and its candidates."""
    return bench_label(recipe, base).replace("bench", "trial")


def tried(recipe: Recipe, base: str) -> list[Candidate]:
    """The candidates that are tuned from a base model."""
    return [candidate for candidate in recipe.candidates if candidate.base_model == base]


def trial_deployment(recipe: Recipe, base: BaseFacts) -> Call:
    """A base model with addons enabled: it and its candidates are asked on the same replica [P71]."""
    return requests.deployment(recipe, recipe.step(trial(recipe, base.name)), base.name, {"enableAddons": True})


def trial_load(recipe: Recipe, candidate: Candidate) -> Call:
    """A candidate loaded onto the deployment of its base model."""
    step = recipe.step(trial(recipe, candidate.base_model))
    deployment = f"accounts/{recipe.account}/deployments/{external_id(recipe.session, step)}"
    body = {"model": candidate_model(recipe, candidate), "deployment": deployment}
    path = f"/v1/accounts/{recipe.account}/deployedModels"
    return Call(recipe.step(f"load-{candidate.id}"), requests.LOAD_LORA, "POST", path, {}, body)


def candidate_model(recipe: Recipe, candidate: Candidate) -> str:
    """The model that the candidate's own run makes."""
    return requests.output_model(requests.candidate_job(recipe, candidate))


def written_body(model: str, messages: list[dict[str, Any]], tools: list[Any]) -> dict[str, Any]:
    """How the model's own chat template and tokenizer write a conversation: nothing is generated."""
    body = {"model": model, "messages": messages, "max_tokens": 0, "temperature": 0, "return_token_ids": True}
    return body | ({"tools": tools} if tools else {})


def measuring_steps(recipe: Recipe, resource: str) -> tuple[str, ...]:
    """The steps that have to be begun anew when the deployment `resource` was ended."""
    asked: dict[str, tuple[str, ...]] = (
        {"eval": ("load",)}
        | dict.fromkeys(judge_requests.NAMES, ())
        | {
            trial(recipe, base.name): tuple(f"load-{one.id}" for one in tried(recipe, base.name))
            for base in recipe.bases
        }
    )
    identifier = resource.rsplit("/", 1)[-1]
    name = next(name for name in asked if identifier == external_id(recipe.session, recipe.step(name)))
    return (name, *asked[name], f"ask-{name}", f"measure-{name}")
