"""Phase 7: base against tuned models, whether the target was met, IDs, costs, and a call [A169, A171]."""

from typing import Any

from langgraph.types import Command

from pilotlight.plan import Phase, Plan
from runner import results
from runner.comparison import declined
from runner.phases import report
from runner.phases.evaluate import winning_job
from runner.phases.preference import board, evaluate
from runner.planning import requests
from runner.planning.recipe import Recipe
from runner.results import load_recipe
from runner.state import State
from runner.turn import Turn


def run(turn: Turn, state: State) -> Command[str]:
    """Write, announce, finish."""
    recipe = load_recipe(turn)
    turn.phase(Phase.REPORT, "started", recipe.generation)
    values = _values(turn, recipe, state.get("winner", ""))
    return report.publish(turn, recipe, values, "pair_report.md.j2", "pair_success.md.j2")


def _values(turn: Turn, recipe: Recipe, winner: str) -> dict[str, Any]:
    cost = turn.cost(f"{recipe.generation}/report")
    proof, candidate = results.load(turn, recipe, "deployment"), recipe.candidate(winner)
    values: dict[str, Any] = {
        "plan": Plan.model_validate(turn.workspace.read_json("plan.json")),
        "recipe": recipe,
        "candidate": candidate,
        "model": requests.tuned_model(recipe, candidate),
        "job": winning_job(turn, recipe, candidate),
        "board": board.scoreboard(turn, recipe) if recipe.sweep else "",
        "found": evaluate.collect(turn, recipe, winner),
        "proof": proof,
        "no_deployment": declined(turn, recipe),
    }
    return values | report.shared_values(turn, proof, cost)
