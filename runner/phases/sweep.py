"""Phase 3: train the candidates, score each on the held-out side [A95, A137]."""

from langgraph.types import Command

import prompts
from pilotlight.errors import PilotlightError
from pilotlight.plan import Phase, Stop
from runner import datasets, results
from runner.jobs import JobResult, JobStart, TooManyFailures, failed_parts, try_jobs
from runner.limits import ask_for_more, to_trouble
from runner.planning import requests
from runner.planning.recipe import Recipe
from runner.results import load_recipe
from runner.scoring.winner import Verdict, choose_winner
from runner.state import State
from runner.turn import Turn


def run(turn: Turn, state: State) -> Command[str]:
    """To promotion; to training with nothing to compare; to the question for more at a limit; to trouble on failure."""
    recipe = load_recipe(turn)
    generation = recipe.generation
    if not recipe.sweep:
        plan = turn.workspace.read_json("plan.json")
        turn.phase(Phase.SWEEP, "skipped", generation, reason=plan["skipped"]["sweep"])
        return Command(goto="train", update={"winner": recipe.candidates[0].id})
    turn.phase(Phase.SWEEP, "started", generation)
    datasets.publish(turn, [recipe.sample, recipe.heldout])
    finished = {result.label for result in results.load_jobs(turn, recipe) if result.done}
    starts = [JobStart(c.id, requests.candidate_job(recipe, c)) for c in recipe.candidates if c.id not in finished]
    new = try_jobs(turn, starts, recipe.max_parallel)
    if isinstance(new, PilotlightError):
        ended = list(new.results) if isinstance(new, TooManyFailures) else []
        results.save_jobs(turn, recipe, ended)
        return to_trouble(Phase.SWEEP, new.message, failed_parts(ended))
    results.save_jobs(turn, recipe, new)
    if stops := [Stop.model_validate(result.stop) for result in new if result.stop]:
        return ask_for_more(Phase.SWEEP, stops)
    ended = [result for result in results.load_jobs(turn, recipe) if result.label != "final"]
    verdict = choose_winner(ended, recipe.candidates)
    if verdict is None:
        reasons = "; ".join(f"{result.label}: {result.message or result.state}" for result in ended)
        return to_trouble(Phase.SWEEP, f"No candidate finished. {reasons}", failed_parts(ended))
    results.save(turn, recipe, "sweep", verdict._asdict())
    turn.workspace.write_text("outputs/scoreboard.md", scoreboard(recipe, ended, verdict))
    turn.artifact("outputs/scoreboard.md", "Scoreboard of the sweep")
    turn.cost(f"{generation}/sweep")
    done = sum(result.done for result in ended)
    turn.phase(Phase.SWEEP, "completed", generation, summary=f"{done} of {len(ended)} candidates finished")
    return Command(goto="promotion_propose", update={"winner": verdict.winner})


def board_of(turn: Turn, recipe: Recipe) -> str:
    """The scoreboard of the sweep as it ended."""
    ended = [result for result in results.load_jobs(turn, recipe) if result.label != "final"]
    return scoreboard(recipe, ended, Verdict(**results.load(turn, recipe, "sweep")))


def scoreboard(recipe: Recipe, ended: list[JobResult], verdict: Verdict) -> str:
    """The table of candidates, best first, with the base model's loss and the verdict."""
    ranked = sorted(ended, key=lambda result: (result.eval_loss is None, result.eval_loss or 0.0))
    base = next((result.base_loss for result in ended if result.base_loss is not None), None)
    return prompts.render(
        "scoreboard.md.j2", recipe=recipe, ranked=ranked, base_loss=base, verdict=verdict, heldout=recipe.heldout
    )
