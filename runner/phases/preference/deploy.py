"""Phase 6: as for every tuned model, unless the comparison ended without a deployment."""

from langgraph.types import Command

from pilotlight.plan import Phase
from runner.comparison import declined
from runner.phases import deploy
from runner.results import load_recipe
from runner.state import State
from runner.turn import Turn


def run(turn: Turn, state: State) -> Command[str]:
    """To the report; as runner.phases.deploy where something is deployed."""
    recipe = load_recipe(turn)
    if not (reason := declined(turn, recipe)):
        return deploy.run(turn, state)
    turn.phase(Phase.DEPLOY, "skipped", recipe.generation, reason=reason)
    return Command(goto="report")
