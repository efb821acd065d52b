"""Phase 5: the final model on the rows that the base model was asked; for a benchmark, the base models [A192]."""

from typing import Any

from langgraph.types import Command

import prompts
from pilotlight.plan import Candidate, Phase
from runner import results, serving
from runner.limits import STOPPING, stop_phase
from runner.measuring import ANSWERS, Target, predict, write_answers
from runner.phases.classification import board
from runner.phases.classification.sweep import benchmark
from runner.phases.evaluate import winning_job
from runner.phases.report import LABELS_TOLD
from runner.planning import label_requests, requests
from runner.planning.recipe import Recipe
from runner.results import load_recipe
from runner.state import State
from runner.turn import Turn


def run(turn: Turn, state: State) -> Command[str]:
    """To deployment; to the question for more at a limit; to trouble when the replica cannot be used."""
    recipe = load_recipe(turn)
    turn.phase(Phase.EVALUATE, "started", recipe.generation)
    winner = state.get("winner", "")
    if recipe.labels.benchmark_only:
        stopped = benchmark(turn, recipe, Phase.EVALUATE)
    else:
        stopped = _ask_final(turn, recipe, recipe.candidate(winner)) if recipe.final else None
    if stopped:
        return stopped
    found = _collect(turn, recipe, winner)
    results.save(turn, recipe, "evaluation", found)
    whole = prompts.render("label_evaluation.md.j2", found=found, recipe=recipe, most=len(recipe.labels.labels))
    turn.workspace.write_text("outputs/evaluation.md", whole)
    turn.artifact("outputs/evaluation.md", "Labels: base against tuned model")
    if not recipe.labels.multi:
        confusion = prompts.render("label_confusion.md.j2", found=found, labels=recipe.labels.labels)
        turn.workspace.write_text("outputs/confusion.md", confusion)
        turn.artifact("outputs/confusion.md", "Which label is taken for which")
    turn.artifact(ANSWERS, "Every evaluation answer")
    text = prompts.render("label_evaluation.md.j2", found=found, recipe=recipe, most=LABELS_TOLD)
    turn.say(text, f"evaluate/{recipe.generation}")
    turn.cost(f"{recipe.generation}/evaluate")
    turn.phase(Phase.EVALUATE, "completed", recipe.generation, summary=f"{recipe.prompts} held-out rows")
    return Command(goto="deploy")


def _ask_final(turn: Turn, recipe: Recipe, candidate: Candidate) -> Command[str] | None:
    call = requests.evaluation_deployment(recipe, candidate)
    name, model = requests.deployment_name(recipe, call), requests.tuned_model(recipe, candidate)
    try:
        serving.create(turn, call, name)
        serving.load_adapter(turn, requests.lora_load(recipe, candidate))
        predict(turn, recipe, Target(board.FINAL, model, f"{model}#{name}"), board.probes_of(turn, recipe))
    except STOPPING as error:
        return stop_phase(turn, Phase.EVALUATE, "evaluation", name, error)
    return None


def _collect(turn: Turn, recipe: Recipe, winner: str) -> dict[str, Any]:
    """Scores of every model that was asked, and what tuning gained."""
    probes, models = board.probes_of(turn, recipe), board.measured(turn, recipe)
    write_answers(turn, probes, {model.label: model.predictions for model in models})
    found: dict[str, Any] = {
        "probes": len(probes),
        "scores": [board.scores_of(recipe, probes, model) for model in models],
        "base": "",
        "tuned": "",
    }
    if recipe.labels.benchmark_only:
        return found
    by_label = {model.label: model for model in models}
    base, tuned = label_requests.bench_label(recipe, recipe.labels.strongest), board.FINAL if recipe.final else winner
    job = winning_job(turn, recipe, recipe.candidate(winner))
    gains = board.gains_of(probes, by_label[base], by_label[tuned])
    losses = {"loss": job.loss, "tunedLoss": job.eval_loss, "baseLoss": job.base_loss}
    return found | {"base": base, "tuned": tuned, "gains": gains, **losses}
