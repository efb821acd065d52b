"""Phase 7 with an evaluator: the sweep is shown by its scores."""

from langgraph.types import Command

from pilotlight.plan import Phase
from runner.phases import report
from runner.phases.scored import board
from runner.results import load_recipe
from runner.state import State
from runner.turn import Turn


def run(turn: Turn, state: State) -> Command[str]:
    """Write, announce, finish."""
    recipe = load_recipe(turn)
    turn.phase(Phase.REPORT, "started", recipe.generation)
    cost = turn.cost(f"{recipe.generation}/report")
    values = report.describe(turn, recipe, state.get("winner", ""), cost)
    if recipe.sweep:
        values["board"] = board.scoreboard(turn, recipe)
    return report.publish(turn, recipe, values, "report.md.j2", "success.md.j2")
