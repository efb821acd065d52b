"""Phase 3: train the candidates, and ask each with its base model about the held-out pairs [A167, A176].

With a target that stops, they are trained a few at a time, and none is begun after one has reached it.
"""

from langgraph.types import Command

from pilotlight.plan import Candidate, Phase
from runner import results, serving
from runner.limits import STOPPING, stop_phase, to_trouble
from runner.pair_measuring import Probe, Target, kept_readings, read_model, write_readings
from runner.phases.candidates import train_candidates
from runner.phases.preference import board
from runner.phases.preference.generate import make_pairs
from runner.phases.preference.judged import ask_unseen, judge_tuned
from runner.planning import requests
from runner.planning.catalogue import BaseFacts
from runner.planning.judge_requests import JUDGE
from runner.planning.label_requests import bench_label
from runner.planning.recipe import Recipe
from runner.results import load_recipe
from runner.state import State
from runner.turn import Turn


def run(turn: Turn, state: State) -> Command[str]:
    """To training (which follows where the sweep was on a sample, after promotion); to more, or to trouble."""
    recipe = load_recipe(turn)
    if not recipe.sweep and recipe.preference.delta is None:
        plan = turn.workspace.read_json("plan.json")
        turn.phase(Phase.SWEEP, "skipped", recipe.generation, reason=plan["skipped"]["sweep"])
        return Command(goto="train", update={"winner": recipe.candidates[0].id})
    turn.phase(Phase.SWEEP, "started", recipe.generation)
    made = make_pairs(turn, recipe)
    if isinstance(made, Command):
        return made
    if not made.sweep:
        turn.cost(f"{made.generation}/sweep")
        turn.phase(Phase.SWEEP, "completed", made.generation, summary="pairs are made; one setting, nothing to compare")
        return Command(goto="train", update={"winner": made.candidates[0].id})
    return _sweep(turn, made)


def _sweep(turn: Turn, recipe: Recipe) -> Command[str]:
    for some in _portions(recipe):
        ended = train_candidates(turn, recipe, some)
        if isinstance(ended, Command):
            return ended
        if stopped := _ask(turn, recipe, [result.label for result in ended if result.done]):
            return stopped
        if stopped := judge_tuned(turn, recipe, Phase.SWEEP, JUDGE):
            return stopped
        if _reached(turn, recipe):
            break
    return _conclude(turn, recipe)


def _portions(recipe: Recipe) -> list[list[Candidate]]:
    """How many candidates are trained before the target is looked at: all, unless reaching it ends the sweep."""
    goal = recipe.preference.goal
    if goal is None or not goal.stops:
        return [recipe.candidates]
    at_once = max((base.throughput.concurrent_jobs for base in recipe.bases if base.throughput), default=1)
    size = min(recipe.max_parallel, at_once)
    return [recipe.candidates[at : at + size] for at in range(0, len(recipe.candidates), size)]


def _ask(turn: Turn, recipe: Recipe, finished: list[str]) -> Command[str] | None:
    """Each base model and its finished candidates, on one replica; a command where something came in between."""
    for base in recipe.bases:
        tuned = [one for one in recipe.tuned_from(base.name) if one.id in finished]
        left = [one for one in tuned if kept_readings(turn, recipe, one.id) is None]
        if left and (stopped := _ask_one(turn, recipe, base, left)):
            return stopped
    models = {model.label: model.readings for model in board.measured(turn, recipe)}
    write_readings(turn, board.pairs_of(turn, recipe), models)
    return None


def _ask_one(turn: Turn, recipe: Recipe, base: BaseFacts, tuned: list[Candidate]) -> Command[str] | None:
    trial = requests.trial_step(recipe, base.name)
    call = requests.trial_deployment(recipe, trial, base.name)
    name = requests.deployment_name(recipe, call)
    pairs = board.pairs_of(turn, recipe)
    try:
        serving.create(turn, call, name)
        _ask_about(turn, recipe, Target(bench_label(recipe, base.name), base.name, name, base.name), pairs)
        for candidate in tuned:
            serving.load_adapter(turn, requests.trial_load(recipe, trial, candidate))
            model = requests.candidate_model(recipe, candidate)
            _ask_about(turn, recipe, Target(candidate.id, model, f"{model}#{name}", base.name), pairs)
    except STOPPING as error:
        return stop_phase(turn, Phase.SWEEP, "evaluation", name, error)
    return None


def _ask_about(turn: Turn, recipe: Recipe, target: Target, pairs: list[Probe]) -> None:
    ask_unseen(turn, recipe, target)
    read_model(turn, recipe, target, pairs)


def _reached(turn: Turn, recipe: Recipe) -> bool:
    """Whether the sweep ends here, because a candidate reached the target that stops it."""
    goal = recipe.preference.goal
    if goal is None or not goal.stops:
        return False
    rows = [row for row in board.scored(turn, recipe) if row["tuned"]]
    winners = [row["label"] for row in rows if board.reached(goal, row)]
    trained = {result.label for result in results.load_jobs(turn, recipe)}
    left = [candidate.id for candidate in recipe.candidates if candidate.id not in trained]
    if not winners or not left:
        return False
    results.save(turn, recipe, "early-stop", {"reached": winners, "left": left})
    turn.say(
        f"{', '.join(winners)} reached the target, so {', '.join(left)} will not be trained.",
        f"early-stop/{recipe.generation}",
    )
    return True


def _conclude(turn: Turn, recipe: Recipe) -> Command[str]:
    verdict = board.verdict_of(turn, recipe)
    if verdict is None:
        return to_trouble(Phase.SWEEP, "No held-out pair fits into the models, so no candidate can be chosen.", [])
    results.save(turn, recipe, "sweep", verdict._asdict())
    turn.workspace.write_text("outputs/scoreboard.md", board.scoreboard(turn, recipe))
    turn.artifact("outputs/scoreboard.md", "Scoreboard of the sweep")
    turn.cost(f"{recipe.generation}/sweep")
    asked = sum(model.tuned for model in board.measured(turn, recipe))
    summary = f"{asked} of {len(recipe.candidates)} candidates measured"
    turn.phase(Phase.SWEEP, "completed", recipe.generation, summary=summary)
    # Where the sweep is the training, the comparison is where the winner is confirmed.
    return Command(goto="promotion_propose" if recipe.final else "train", update={"winner": verdict.winner})
