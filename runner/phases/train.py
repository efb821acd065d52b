"""Phase 4: the winning settings on the whole training side [A96, A140]."""

from langgraph.types import Command

from pilotlight.errors import PilotlightError
from pilotlight.plan import Phase, Stop
from runner import datasets, heldout, results
from runner.jobs import JobStart, TooManyFailures, failed_parts, try_jobs
from runner.limits import ask_for_more, to_trouble
from runner.planning import requests
from runner.results import load_recipe
from runner.state import State
from runner.turn import Turn


def run(turn: Turn, state: State) -> Command[str]:
    """To evaluation; to the question for more at an approved limit; to trouble when the job failed."""
    recipe = load_recipe(turn)
    if not recipe.final:
        turn.phase(Phase.TRAIN, "skipped", recipe.generation, reason=recipe.final_reason)
        return Command(goto="evaluate")
    turn.phase(Phase.TRAIN, "started", recipe.generation)
    datasets.publish(turn, [recipe.train, recipe.heldout])
    candidate = recipe.candidate(state.get("winner", ""))
    ended = try_jobs(turn, [JobStart("final", requests.final_job(recipe, candidate))], 1)
    if isinstance(ended, PilotlightError):
        stuck = list(ended.results) if isinstance(ended, TooManyFailures) else []
        return to_trouble(Phase.TRAIN, ended.message, failed_parts(stuck))
    results.save_jobs(turn, recipe, ended)
    if ended[0].stop:
        return ask_for_more(Phase.TRAIN, [Stop.model_validate(ended[0].stop)])
    if not ended[0].done:
        return to_trouble(Phase.TRAIN, ended[0].message or ended[0].state, failed_parts(ended))
    heldout.keep(turn, recipe, ended)
    turn.cost(f"{recipe.generation}/train")
    loss = ended[0].eval_loss
    summary = "finished" if loss is None else f"validation loss {loss:.3f}"
    turn.phase(Phase.TRAIN, "completed", recipe.generation, summary=summary)
    return Command(goto="evaluate")
