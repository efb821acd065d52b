"""Phase 6: as for every tuned model, unless there is none, or nobody was asked about one that is no better."""

from langgraph.types import Command

from pilotlight.plan import Phase
from runner import results
from runner.phases import deploy
from runner.results import load_recipe
from runner.state import State
from runner.turn import Turn

NO_GAIN = "the tuned model is not more accurate than the base model, so there is nothing to deploy it for"


def run(turn: Turn, state: State) -> Command[str]:
    """To the report."""
    recipe = load_recipe(turn)
    plan = turn.workspace.read_json("plan.json")
    reason = plan["skipped"].get(Phase.DEPLOY.value, "")
    if not reason and not recipe.sweep and _gain(turn) <= 0:
        # With one setting there was no promotion gate at which a person could decide to go on in spite of it.
        reason = NO_GAIN
    if not reason:
        return deploy.run(turn, state)
    turn.phase(Phase.DEPLOY, "skipped", recipe.generation, reason=reason)
    return Command(goto="report")


def _gain(turn: Turn) -> float:
    found = results.load(turn, load_recipe(turn), "evaluation")
    return float(found["gains"]["choice"][0])
