"""Phase 3: train the candidates, let each and its base model answer held-out rows, score the answers [A145, A209]."""

from langgraph.types import Command

from pilotlight.plan import Candidate, Phase
from runner import results, serving
from runner.evaluators import author, kept, registered
from runner.evaluators.scores import EvaluatorUnfit
from runner.limits import STOPPING, stop_phase, to_trouble
from runner.phases import sweep
from runner.phases.candidates import train_candidates
from runner.phases.evaluate import Probe, ask_all
from runner.phases.scored import board
from runner.planning import requests, scored_requests
from runner.planning.recipe import Recipe
from runner.results import load_recipe
from runner.scoring.score_winner import choose
from runner.state import State
from runner.turn import Turn


def run(turn: Turn, state: State) -> Command[str]:
    """To promotion; to training with nothing to compare; to the question for more at a limit; to trouble on failure."""
    recipe = load_recipe(turn)
    try:
        _try_evaluator(turn, recipe)
    except EvaluatorUnfit as error:
        return to_trouble(Phase.SWEEP, f"Nothing was trained: the evaluator cannot be used. {error}", [])
    if not recipe.sweep:
        return sweep.run(turn, state)
    turn.phase(Phase.SWEEP, "started", recipe.generation)
    ended = train_candidates(turn, recipe)
    if isinstance(ended, Command):
        return ended
    probes = board.probes_of(turn, recipe)
    for base in recipe.bases:
        if stopped := _try(turn, recipe, base.name, probes):
            return stopped
    try:
        return _conclude(turn, recipe, probes)
    except EvaluatorUnfit as error:
        return to_trouble(Phase.SWEEP, f"The answers could not be scored. {error}", [])


def _try_evaluator(turn: Turn, recipe: Recipe) -> None:
    """One with packages could not be tried before the plan that names them was approved; others were."""
    if recipe.scorer.requirements:
        source = kept.code_of(turn.workspace, recipe.scorer.digest)
        registered.try_out(turn, source, author.read_staged(turn), recipe.scorer.requirements)


def _try(turn: Turn, recipe: Recipe, base: str, probes: list[Probe]) -> Command[str] | None:
    """Ask the base model and its finished candidates, all on one replica."""
    call = requests.trial_deployment(recipe, requests.trial_step(recipe, base), base)
    name, label = requests.deployment_name(recipe, call), scored_requests.base_label(recipe, base)
    done = {result.label for result in results.load_jobs(turn, recipe) if result.done}
    mine = [c for c in recipe.tuned_from(base) if c.id in done]
    left = [c for c in mine if not _asked(turn, recipe, c.id, probes)]
    if not left and _asked(turn, recipe, label, probes):
        return None
    try:
        serving.create(turn, call, name)
        if not _asked(turn, recipe, label, probes):
            _ask(turn, recipe, label, name, probes)
        for candidate in left:
            _ask_candidate(turn, recipe, candidate, name, probes)
    except STOPPING as error:
        return stop_phase(turn, Phase.SWEEP, "evaluation", name, error)
    return None


def _ask_candidate(turn: Turn, recipe: Recipe, candidate: Candidate, deployment: str, probes: list[Probe]) -> None:
    trial = requests.trial_step(recipe, candidate.base_model)
    serving.load_adapter(turn, requests.trial_load(recipe, trial, candidate))
    model = requests.candidate_model(recipe, candidate)
    _ask(turn, recipe, candidate.id, f"{model}#{deployment}", probes)


def _ask(turn: Turn, recipe: Recipe, label: str, address: str, probes: list[Probe]) -> None:
    who = f"candidate {label}" if "#" in address else "the base model"
    turn.say(f"Asking {who} {len(probes)} held-out prompts.", f"ask/{recipe.generation}/{label}")
    answers = ask_all(turn, recipe, address, probes)
    board.keep_answers(turn, recipe, label, probes, answers)


def _asked(turn: Turn, recipe: Recipe, label: str, probes: list[Probe]) -> bool:
    return board.kept_answers(turn, recipe, label, probes) is not None


def _conclude(turn: Turn, recipe: Recipe, probes: list[Probe]) -> Command[str]:
    models = board.scored(turn, recipe, probes)
    losses = {result.label: result.eval_loss for result in results.load_jobs(turn, recipe)}
    verdict = choose(recipe, {model.label: model.values for model in models}, losses)
    results.save(turn, recipe, "sweep", verdict._asdict())
    board.write_answers(turn, probes, models)
    turn.artifact(board.ANSWERS, "Every answer of the sweep with its score")
    turn.workspace.write_text("outputs/scoreboard.md", board.scoreboard(turn, recipe))
    turn.artifact("outputs/scoreboard.md", "Scoreboard of the sweep")
    turn.cost(f"{recipe.generation}/sweep")
    summary = f"{sum(model.candidate is not None for model in models)} of {len(recipe.candidates)} candidates scored"
    turn.phase(Phase.SWEEP, "completed", recipe.generation, summary=summary)
    return Command(goto="promotion_propose", update={"winner": verdict.winner})
