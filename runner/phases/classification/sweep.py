"""Phase 3: measure the base models, tune the strongest, measure every candidate on the same rows [A190, A191]."""

from langgraph.types import Command

from pilotlight.plan import Phase
from runner import results, serving
from runner.limits import STOPPING, stop_phase
from runner.measuring import Probe, Target, predict, write_answers
from runner.phases.candidates import train_candidates
from runner.phases.classification import board
from runner.planning import label_requests, requests
from runner.planning.recipe import Recipe
from runner.results import RECIPE, load_recipe
from runner.scoring.label_winner import choose_candidate, strongest
from runner.state import State
from runner.turn import Turn


def run(turn: Turn, state: State) -> Command[str]:
    """To promotion; to training with one setting; to the question for more at a limit; to trouble on failure."""
    recipe = load_recipe(turn)
    generation = recipe.generation
    if recipe.labels.benchmark_only:
        turn.phase(Phase.SWEEP, "skipped", generation, reason=_reason(turn))
        return Command(goto="train", update={"winner": ""})
    turn.phase(Phase.SWEEP, "started", generation)
    if stopped := benchmark(turn, recipe, Phase.SWEEP):
        return stopped
    recipe = _decide_base(turn, recipe)
    if not recipe.sweep:
        turn.cost(f"{generation}/sweep")
        turn.phase(Phase.SWEEP, "completed", generation, summary="benchmarked; one setting, so nothing to compare")
        return Command(goto="train", update={"winner": recipe.candidates[0].id})
    if stopped := _train(turn, recipe) or _try(turn, recipe):
        return stopped
    return _conclude(turn, recipe)


def benchmark(turn: Turn, recipe: Recipe, phase: Phase) -> Command[str] | None:
    """Measure each base model on a deployment of its own; a command where a limit or a failure came in between."""
    probes = board.probes_of(turn, recipe)
    for base in recipe.bases:
        label = label_requests.bench_label(recipe, base.name)
        call = label_requests.bench_deployment(recipe, base)
        name = requests.deployment_name(recipe, call)
        if board.kept_predictions(turn, recipe, label) is None:
            try:
                serving.create(turn, call, name)
                predict(turn, recipe, Target(label, base.name, name), probes)
            except STOPPING as error:
                return stop_phase(turn, phase, "evaluation", name, error)
    _publish(turn, recipe, probes)
    return None


def _reason(turn: Turn) -> str:
    return str(turn.workspace.read_json("plan.json")["skipped"]["sweep"])


def _decide_base(turn: Turn, recipe: Recipe) -> Recipe:
    if recipe.labels.strongest:
        return recipe
    probes = board.probes_of(turn, recipe)
    sizes = {base.name: float(base.parameters or 0) for base in recipe.bases}
    models = [model for model in board.measured(turn, recipe) if model.label.startswith("bench")]
    entries = [board.entry_of(probes, model, sizes[model.base])._replace(name=model.base) for model in models]
    name, reason = strongest(entries)
    results.save(turn, recipe, "strongest", {"base": name, "reason": reason})
    decided = recipe.tuning(name)
    turn.workspace.write_json(RECIPE, decided.model_dump(mode="json"))
    turn.say(f"I tune {name.rsplit('/', 1)[-1]}: {reason}.", f"strongest/{recipe.generation}")
    return decided


def _train(turn: Turn, recipe: Recipe) -> Command[str] | None:
    ended = train_candidates(turn, recipe)
    return ended if isinstance(ended, Command) else None


def _try(turn: Turn, recipe: Recipe) -> Command[str] | None:
    """Measure the candidates that finished, all on one replica of their base model."""
    call = requests.trial_deployment(recipe, label_requests.TRIAL, recipe.labels.strongest)
    name = requests.deployment_name(recipe, call)
    probes = board.probes_of(turn, recipe)
    finished = [result.label for result in results.load_jobs(turn, recipe) if result.done]
    left = [c for c in recipe.candidates if c.id in finished and not board.kept_predictions(turn, recipe, c.id)]
    if not left:
        return None
    try:
        serving.create(turn, call, name)
        for candidate in left:
            serving.load_adapter(turn, requests.trial_load(recipe, label_requests.TRIAL, candidate))
            model = requests.candidate_model(recipe, candidate)
            predict(turn, recipe, Target(candidate.id, model, f"{model}#{name}"), probes)
    except STOPPING as error:
        return stop_phase(turn, Phase.SWEEP, "evaluation", name, error)
    _publish(turn, recipe, probes)
    return None


def _conclude(turn: Turn, recipe: Recipe) -> Command[str]:
    probes, generation = board.probes_of(turn, recipe), recipe.generation
    models = {model.label: model for model in board.measured(turn, recipe)}
    base = models[label_requests.bench_label(recipe, recipe.labels.strongest)]
    losses = {result.label: result.eval_loss for result in results.load_jobs(turn, recipe)}
    entries = [
        board.entry_of(probes, models[c.id], c.lora_rank, losses.get(c.id)) for c in recipe.candidates if c.id in models
    ]
    verdict = choose_candidate(entries, board.choice_hits(probes, base))
    results.save(turn, recipe, "sweep", verdict._asdict())
    turn.workspace.write_text("outputs/scoreboard.md", board.scoreboard(turn, recipe))
    turn.artifact("outputs/scoreboard.md", "Scoreboard of the sweep")
    turn.cost(f"{generation}/sweep")
    summary = f"{len(entries)} of {len(recipe.candidates)} candidates measured"
    turn.phase(Phase.SWEEP, "completed", generation, summary=summary)
    return Command(goto="promotion_propose", update={"winner": verdict.winner})


def _publish(turn: Turn, recipe: Recipe, probes: list[Probe]) -> None:
    models = {model.label: model.predictions for model in board.measured(turn, recipe)}
    write_answers(turn, probes, models)
