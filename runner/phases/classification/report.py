"""Phase 7: every model's scores, what tuning gained, IDs, costs, and a call that predicts a label [A193, A194]."""

from typing import Any

from langgraph.types import Command

from pilotlight.plan import Phase, Plan
from runner import results
from runner.phases import report
from runner.phases.classification import board
from runner.phases.classification.deploy import NO_GAIN
from runner.phases.evaluate import winning_job
from runner.planning.recipe import Recipe
from runner.results import load_recipe
from runner.state import State
from runner.turn import Turn


def run(turn: Turn, state: State) -> Command[str]:
    """Write, announce, finish."""
    recipe = load_recipe(turn)
    turn.phase(Phase.REPORT, "started", recipe.generation)
    values = _values(turn, recipe, state.get("winner", ""))
    return report.publish(turn, recipe, values, "label_report.md.j2", "label_success.md.j2")


def _values(turn: Turn, recipe: Recipe, winner: str) -> dict[str, Any]:
    plan = Plan.model_validate(turn.workspace.read_json("plan.json"))
    cost = turn.cost(f"{recipe.generation}/report")
    proof = results.load(turn, recipe, "deployment")
    only = recipe.labels.benchmark_only
    values: dict[str, Any] = {
        "plan": plan,
        "most": len(recipe.labels.labels),
        "recipe": recipe,
        "found": results.load(turn, recipe, "evaluation"),
        "proof": proof,
        "no_deployment": "" if proof else plan.skipped.get(Phase.DEPLOY, NO_GAIN),
        "candidate": None if only else recipe.candidate(winner),
        "job": None if only else winning_job(turn, recipe, recipe.candidate(winner)),
        "board": board.scoreboard(turn, recipe) if recipe.sweep else "",
        "strongest": results.load(turn, recipe, "strongest"),
    }
    return values | report.shared_values(turn, proof, cost)
