"""The comparison that a person decides on before anything is deployed [A177]."""

import prompts
from pilotlight.question import Option
from runner.comparison import Comparison
from runner.phases.preference import board, evaluate
from runner.planning.recipe import Recipe
from runner.turn import Turn


def compare(turn: Turn, recipe: Recipe, winner: str) -> Comparison:
    """What is shown, with `winner` as the one to be deployed, and who else could be."""
    found = evaluate.collect(turn, recipe, winner)
    evaluate.publish(turn, recipe, found)
    verdict = None if recipe.final else board.verdict_of(turn, recipe)
    text = prompts.render(
        "comparison.md.j2",
        evaluation=prompts.render("pair_evaluation.md.j2", found=found, recipe=recipe),
        found=found,
        recipe=recipe,
        winner=winner,
        verdict=verdict,
        plan=turn.workspace.read_json("plan.json"),
    )
    labels = [winner] if recipe.final else [row["label"] for row in found["rows"] if row["tuned"]]
    options = [
        Option(value=label, label=f"{label}: {recipe.candidate(label).settings()}", recommended=label == winner)
        for label in labels
    ]
    return Comparison(text, options)
