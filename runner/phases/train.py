"""Phase 4: the winning settings on the whole training side [A96, A140]."""

from langgraph.types import Command

from pilotlight.errors import PilotlightError
from pilotlight.plan import Phase
from runner import datasets, results
from runner.jobs import JobStart, try_jobs
from runner.planning import requests
from runner.results import load_recipe
from runner.state import State
from runner.turn import Turn


def run(turn: Turn, state: State) -> Command[str]:
    """To evaluation; to trouble when the job failed."""
    recipe = load_recipe(turn)
    if not recipe.final:
        turn.phase(Phase.TRAIN, "skipped", recipe.generation, reason=recipe.final_reason)
        return Command(goto="evaluate")
    turn.phase(Phase.TRAIN, "started", recipe.generation)
    datasets.publish(turn, [recipe.train, recipe.heldout])
    candidate = recipe.candidate(state.get("winner", ""))
    ended = try_jobs(turn, [JobStart("final", requests.final_job(recipe, candidate))], 1)
    if isinstance(ended, PilotlightError):
        return _trouble(ended.message)
    results.save_jobs(turn, recipe, ended)
    if not ended[0].done:
        return _trouble(ended[0].message or ended[0].state)
    turn.cost(f"{recipe.generation}/train")
    loss = ended[0].eval_loss
    summary = "finished" if loss is None else f"validation loss {loss:.3f}"
    turn.phase(Phase.TRAIN, "completed", recipe.generation, summary=summary)
    return Command(goto="evaluate")


def _trouble(message: str) -> Command[str]:
    return Command(goto="trouble_propose", update={"trouble": {"phase": Phase.TRAIN.value, "message": message}})
