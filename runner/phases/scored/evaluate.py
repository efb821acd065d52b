"""Phase 5 with an evaluator: its score of the base and the tuned model comes before every other metric [A209]."""

from typing import Any

from langgraph.types import Command

from pilotlight.plan import Candidate
from runner.phases import evaluate
from runner.phases.evaluate import Metrics
from runner.phases.scored import board
from runner.planning import scored_requests
from runner.planning.recipe import Recipe
from runner.scoring.intervals import interval_of
from runner.scoring.labels import difference
from runner.state import State
from runner.turn import Turn

SCORE = "evaluator score"


def run(turn: Turn, state: State) -> Command[str]:
    """To deployment; to the question for more at a limit; to trouble when models or evaluator cannot be used."""
    return evaluate.run_with(turn, state, _score)


def _score(turn: Turn, recipe: Recipe, candidate: Candidate) -> Metrics:
    probes = board.probes_of(turn, recipe)
    before, after = _answers(turn, recipe, candidate, probes)
    names = ("base", "tuned")
    scores = [board.score_answers(turn, recipe, probes, answers) for answers in (before, after)]
    base, tuned = ([one.value for one in model] for model in scores)
    extra: list[dict[str, Any]] = [{"baseScore": old, "tunedScore": new} for old, new in zip(base, tuned, strict=True)]
    evaluate.write_answers(turn, probes, before, after, extra)
    row = {"name": SCORE, "base": interval_of(base), "tuned": interval_of(tuned), "gain": difference(base, tuned)}
    failed = {name: sum(bool(one.error) for one in model) for name, model in zip(names, scores, strict=True)}
    metrics = [row, *evaluate.compare(probes, before, after)]
    return {"probes": len(probes), "metrics": metrics, "evaluatorFailed": failed}


def _answers(
    turn: Turn, recipe: Recipe, candidate: Candidate, probes: list[evaluate.Probe]
) -> tuple[list[str], list[str]]:
    """Of base and tuned model; those of the sweep where the winner was not trained anew: it is the same model."""
    if recipe.sweep and not recipe.final:
        label = scored_requests.base_label(recipe, candidate.base_model)
        before = board.kept_answers(turn, recipe, label, probes)
        after = board.kept_answers(turn, recipe, candidate.id, probes)
        if before is not None and after is not None:
            return before, after
    return evaluate.ask_both(turn, recipe, candidate, probes)
