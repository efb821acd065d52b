"""What a comparison shows, and how it was decided.

The gate is runner.nodes.comparison; a workflow that leads there brings a Compare.
"""

from collections.abc import Callable
from typing import NamedTuple

from pilotlight.question import Option
from runner import results
from runner.planning.recipe import Recipe
from runner.turn import Turn

_DECLINED = "declined"
_REASON = "you chose to finish without deploying"


class Comparison(NamedTuple):
    """What is shown, and the candidates among which the person may choose."""

    text: str
    options: list[Option]


Compare = Callable[[Turn, Recipe, str], Comparison]
"""From the ID of the candidate that would be deployed."""


def decline(turn: Turn, recipe: Recipe) -> None:
    """Keep that nothing is to be deployed."""
    results.save(turn, recipe, _DECLINED, {"reason": _REASON})


def declined(turn: Turn, recipe: Recipe) -> str:
    """Why nothing is deployed; empty where the comparison was approved."""
    return str(results.load(turn, recipe, _DECLINED).get("reason", ""))
