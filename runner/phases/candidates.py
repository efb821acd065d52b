"""The training runs of a sweep, the same for every workflow: what is finished is kept, what is missing is run."""

from collections.abc import Sequence

from langgraph.types import Command

from pilotlight.errors import PilotlightError
from pilotlight.plan import Candidate, Phase, Stop
from runner import datasets, heldout, results
from runner.halving import Halving
from runner.jobs import JobResult, JobStart, TooManyFailures, failed_parts, try_jobs
from runner.limits import ask_for_more, to_trouble
from runner.planning import requests
from runner.planning.recipe import Recipe
from runner.turn import Turn


def train_candidates(
    turn: Turn, recipe: Recipe, chosen: Sequence[Candidate] | None = None
) -> list[JobResult] | Command[str]:
    """How each candidate ended, at least one of them with a model; `chosen` are those to train now, else all.

    Else where to go: to the question for more at a limit, to trouble when too many or all of them failed.
    """
    datasets.publish(turn, [recipe.sample, recipe.heldout])
    kept = results.load_jobs(turn, recipe)
    finished = {result.label for result in kept if result.done or result.pruned}
    halving = Halving(turn, recipe, kept) if recipe.prune else None
    starts = [
        JobStart(c.id, requests.candidate_job(recipe, c)) for c in chosen or recipe.candidates if c.id not in finished
    ]
    new = try_jobs(turn, starts, recipe.max_parallel, halving)
    if isinstance(new, PilotlightError):
        ended = list(new.results) if isinstance(new, TooManyFailures) else []
        results.save_jobs(turn, recipe, ended)
        return to_trouble(Phase.SWEEP, new.message, failed_parts(ended))
    results.save_jobs(turn, recipe, new)
    if stops := [Stop.model_validate(result.stop) for result in new if result.stop]:
        return ask_for_more(Phase.SWEEP, stops)
    ended = [result for result in results.load_jobs(turn, recipe) if result.label != "final"]
    heldout.keep(turn, recipe, ended)
    if not any(result.done for result in ended):
        reasons = "; ".join(f"{result.label}: {result.message or result.state}" for result in ended)
        return to_trouble(Phase.SWEEP, f"No candidate finished. {reasons}", failed_parts(ended))
    return ended
