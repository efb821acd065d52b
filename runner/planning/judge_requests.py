"""Requests that only generating and judging make. As in runner.planning.requests, plans grant exactly these."""

from typing import Any

from runner.calls import Call
from runner.planning import requests
from runner.planning.catalogue import BaseFacts
from runner.planning.recipe import Recipe

STRONG, WEAK, PAIR_JUDGE, JUDGE, FINAL_JUDGE = "strong", "weak", "pairs-judge", "judge", "judge-final"
"""Deployments: of the models that make pairs, of the judge of pairs, of the sweep and of the final model."""
MOST_JUDGED = 150
VERDICT_TOKENS = 600
"""What the planner's model may write about one pair, its reasons included."""
PLANNER_CALL = "CreatePlannerMessage"
NAMES = (STRONG, WEAK, PAIR_JUDGE, JUDGE, FINAL_JUDGE)


def asked_deployment(recipe: Recipe, name: str, base: BaseFacts) -> Call:
    """A base model alone, to write answers or to judge."""
    return requests.deployment(recipe, recipe.step(name), base.name, {})


def judged_prompts(recipe: Recipe) -> int:
    """On how many held-out prompts tuned and base models are compared, at most."""
    delta = recipe.preference.delta
    return min(MOST_JUDGED, delta.unseen_rows) if delta else recipe.prompts


def answer_body(model: str, messages: list[dict[str, Any]], tools: list[Any], most: int) -> dict[str, Any]:
    """A greedy answer of at most `most` tokens."""
    body: dict[str, Any] = {"model": model, "messages": messages, "max_tokens": most, "temperature": 0}
    return body | ({"tools": tools} if tools else {})
