"""Phase 3: train the candidates, score each on the held-out side [A95, A137]."""

from collections.abc import Mapping

from langgraph.types import Command

import prompts
from pilotlight.plan import Phase
from runner import heldout, results
from runner.heldout import RowLosses
from runner.jobs import JobResult
from runner.limits import to_trouble
from runner.phases.candidates import train_candidates
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
    ended = train_candidates(turn, recipe)
    if isinstance(ended, Command):
        return ended
    rows = heldout.load(turn, recipe)
    verdict = choose_winner(ended, recipe.candidates, rows)
    if verdict is None:
        return to_trouble(Phase.SWEEP, "No candidate has a validation loss, so none can be chosen.", [])
    results.save(turn, recipe, "sweep", verdict._asdict())
    turn.workspace.write_text("outputs/scoreboard.md", scoreboard(recipe, ended, verdict, rows))
    turn.artifact("outputs/scoreboard.md", "Scoreboard of the sweep")
    turn.cost(f"{generation}/sweep")
    turn.phase(Phase.SWEEP, "completed", generation, summary=_summary(ended))
    return Command(goto="promotion_propose", update={"winner": verdict.winner})


def _summary(ended: list[JobResult]) -> str:
    done, pruned = sum(result.done for result in ended), sum(result.pruned is not None for result in ended)
    stopped = f", {pruned} stopped by successive halving" if pruned else ""
    return f"{done} of {len(ended)} candidates finished{stopped}"


def board_of(turn: Turn, recipe: Recipe) -> str:
    """The scoreboard of the sweep as it ended."""
    ended = [result for result in results.load_jobs(turn, recipe) if result.label != "final"]
    return scoreboard(recipe, ended, Verdict(**results.load(turn, recipe, "sweep")), heldout.load(turn, recipe))


def scoreboard(recipe: Recipe, ended: list[JobResult], verdict: Verdict, rows: Mapping[str, RowLosses]) -> str:
    """The table of candidates, best first, with the base model's loss and the verdict."""
    ranked = sorted(ended, key=lambda result: (not result.done, result.eval_loss is None, result.eval_loss or 0.0))
    base = next((result.base_loss for result in ended if result.base_loss is not None), None)
    known = {label: rows[label] for label in rows if label != "final"}
    return prompts.render(
        "scoreboard.md.j2",
        recipe=recipe,
        ranked=ranked,
        base_loss=base,
        verdict=verdict,
        heldout=recipe.heldout,
        rows=known,
    )
