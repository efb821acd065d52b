"""Spending requests that only a classification makes: benchmark and trial deployments, and the two ways of asking.

As in runner.planning.requests, plans grant exactly these and phases send exactly these.
"""

from typing import Any

from runner.calls import Call, external_id
from runner.planning import requests
from runner.planning.catalogue import BaseFacts
from runner.planning.recipe import Recipe

COMPLETE = "CreateCompletion"
COMPLETIONS = "/inference/v1/completions"
CHOICES_AT_ONCE = 32
"""Answers that are measured in one request."""
TRIAL = "trial"


def bench_label(recipe: Recipe, base: str) -> str:
    """What the answers of an untuned base model are kept under."""
    return f"bench{recipe.place(base)}"


def bench_deployment(recipe: Recipe, base: BaseFacts) -> Call:
    """A base model alone, to be measured."""
    return requests.deployment(recipe, recipe.step(bench_label(recipe, base.name)), base.name, {})


def chat_body(recipe: Recipe, model: str, messages: list[dict[str, Any]], tools: list[Any]) -> dict[str, Any]:
    """Ask freely; the reply tells the tokens of the prompt, which measuring starts from."""
    body = requests.question_body(recipe, model, messages) | {"return_token_ids": True}
    return body | ({"tools": tools} if tools else {})


def measure_body(model: str, prompts: list[list[int]], last: int) -> dict[str, Any]:
    """The log-probabilities of the `last` tokens of each prompt: nothing is generated."""
    return {"model": model, "prompt": prompts, "max_tokens": 0, "temperature": 0, "echo_last": last, "logprobs": 0}


def measuring_steps(recipe: Recipe, resource: str) -> tuple[str, ...]:
    """The steps that have to be begun anew when the deployment `resource` was ended."""
    names = [bench_label(recipe, base.name) for base in recipe.bases]
    asked = {name: () for name in names} | {
        TRIAL: tuple(f"load-{one.id}" for one in recipe.candidates),
        "eval": ("load",),
    }
    identifier = resource.rsplit("/", 1)[-1]
    name = next(name for name in asked if identifier == external_id(recipe.session, recipe.step(name)))
    return (name, *asked[name], f"ask-{name}", f"measure-{name}")
