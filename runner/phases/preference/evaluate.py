"""Phase 5: the tuned models against their base models on held-out pairs, and whether the target is met [A168].

collect() is where another way of judging joins: what it returns is kept, shown at the comparison and in the report.
"""

from typing import Any

from langgraph.types import Command

import prompts
from pilotlight.plan import Candidate, Phase
from runner import results, serving
from runner.limits import STOPPING, stop_phase, to_trouble
from runner.pair_measuring import READINGS, Target, read_model, write_readings
from runner.phases.preference import board
from runner.phases.preference.judged import ask_unseen, judge_tuned
from runner.planning import requests
from runner.planning.judge_requests import FINAL_JUDGE
from runner.planning.label_requests import bench_label
from runner.planning.recipe import Recipe
from runner.results import load_recipe
from runner.state import State
from runner.turn import Turn


def run(turn: Turn, state: State) -> Command[str]:
    """To the comparison; to the question for more at a limit; to trouble when the replica cannot be used."""
    recipe, winner = load_recipe(turn), state.get("winner", "")
    turn.phase(Phase.EVALUATE, "started", recipe.generation)
    if recipe.final and (stopped := _ask_final(turn, recipe, recipe.candidate(winner))):
        return stopped
    if recipe.final and (stopped := judge_tuned(turn, recipe, Phase.EVALUATE, FINAL_JUDGE, winner)):
        return stopped
    found = collect(turn, recipe, winner)
    if not found["rows"]:
        return to_trouble(Phase.EVALUATE, "No held-out pair fits into the models, so nothing can be compared.", [])
    text = publish(turn, recipe, found)
    turn.artifact(READINGS, "Every held-out pair with what every model made of it")
    turn.say(text, f"evaluate/{recipe.generation}")
    turn.cost(f"{recipe.generation}/evaluate")
    turn.phase(Phase.EVALUATE, "completed", recipe.generation, summary=f"{found['pairs']} held-out pairs")
    return Command(goto="comparison_propose")


def collect(turn: Turn, recipe: Recipe, winner: str) -> dict[str, Any]:
    """Scores of every model that was asked, which of them is to be deployed, and whether it meets the target."""
    models = board.measured(turn, recipe, winner)
    write_readings(turn, board.pairs_of(turn, recipe), {model.label: model.readings for model in models})
    rows = board.scored(turn, recipe, winner)
    by_label = {row["label"]: row for row in rows}
    tuned = by_label.get(board.FINAL if recipe.final else winner)
    goal = recipe.preference.goal
    return {
        "rows": rows,
        "pairs": tuned["pairs"] if tuned else 0,
        "tooLong": recipe.prompts - (tuned["pairs"] if tuned else 0),
        "tuned": tuned,
        "better": bool(tuned) and _better(recipe, tuned),
        "base": by_label.get(bench_label(recipe, recipe.candidate(winner).base_model)),
        "reached": board.reached(goal, tuned) if goal and tuned else None,
        "earlyStop": results.load(turn, recipe, "early-stop"),
    }


def _better(recipe: Recipe, tuned: dict[str, Any]) -> bool:
    """Whether it beats its base model beyond chance, by what decides, and its answers are not judged worse."""
    if recipe.preference.by_wins:
        return bool(tuned["win_rate"] and tuned["win_rate"][1] > 0.5)
    return bool(tuned["gain"][1] > 0 and not (tuned["win_rate"] and tuned["win_rate"][2] < 0.5))


def publish(turn: Turn, recipe: Recipe, found: dict[str, Any]) -> str:
    """Keep what was found, and write it for people; the text."""
    results.save(turn, recipe, "evaluation", found)
    text = prompts.render("pair_evaluation.md.j2", found=found, recipe=recipe)
    turn.workspace.write_text("outputs/evaluation.md", text)
    turn.artifact("outputs/evaluation.md", "Base against tuned models")
    return text


def _ask_final(turn: Turn, recipe: Recipe, candidate: Candidate) -> Command[str] | None:
    call = requests.evaluation_deployment(recipe, candidate)
    name, model, base = (
        requests.deployment_name(recipe, call), requests.tuned_model(recipe, candidate), candidate.base_model
    )  # fmt: skip
    pairs = board.pairs_of(turn, recipe)
    try:
        serving.create(turn, call, name)
        untuned = Target(bench_label(recipe, base), base, name, base)
        ask_unseen(turn, recipe, untuned)
        read_model(turn, recipe, untuned, pairs)
        serving.load_adapter(turn, requests.lora_load(recipe, candidate))
        tuned = Target(board.FINAL, model, f"{model}#{name}", base)
        ask_unseen(turn, recipe, tuned)
        read_model(turn, recipe, tuned, pairs)
    except STOPPING as error:
        return stop_phase(turn, Phase.EVALUATE, "evaluation", name, error)
    return None
