"""What the models of a sweep answered, what the evaluator gave for it, and the table that people see."""

import json
from typing import Any, NamedTuple

import prompts
from pilotlight.plan import Candidate, canonical_json
from runner import results
from runner.evaluators import kept
from runner.evaluators.rows import rows_at
from runner.evaluators.scores import Case, Score, digest_of, score
from runner.phases.evaluate import Probe, list_probes
from runner.planning import scored_requests
from runner.planning.recipe import Recipe
from runner.scoring.intervals import interval_of
from runner.scoring.labels import difference
from runner.scoring.winner import Verdict
from runner.turn import Turn

ANSWERS = "outputs/sweep_answers.jsonl"


class Scored(NamedTuple):
    """One model with its answers and their scores, in the order of the probes."""

    label: str
    base: str
    candidate: Candidate | None
    """None for a base model that is not tuned."""
    answers: list[str]
    scores: list[Score]

    @property
    def values(self) -> list[float]:
        """The scores as numbers."""
        return [one.value for one in self.scores]


def probes_of(turn: Turn, recipe: Recipe) -> list[Probe]:
    """The held-out rows that all models are asked."""
    return list_probes(recipe, turn.workspace.data / str(recipe.heldout.file))


def score_answers(turn: Turn, recipe: Recipe, probes: list[Probe], answers: list[str]) -> list[Score]:
    """What the plan's evaluator gives for answers, kept: the same answers are not scored twice.

    Raises EvaluatorUnfit when the evaluator cannot be run.
    """
    asked = [recipe.scorer.digest, [probe.line for probe in probes], answers]
    name = f"scores-{digest_of(canonical_json(asked))[:16]}"
    if known := results.load(turn, recipe, name):
        return [Score(*item) for item in known["scores"]]
    source = kept.code_of(turn.workspace, recipe.scorer.digest)
    rows = rows_at(turn.workspace.data / str(recipe.heldout.file), [probe.line for probe in probes])
    needs = recipe.scorer.requirements
    scores = score(turn, source, [Case(row, answer) for row, answer in zip(rows, answers, strict=True)], needs)
    results.save(turn, recipe, name, {"scores": [list(one) for one in scores]})
    return scores


def keep_answers(turn: Turn, recipe: Recipe, label: str, probes: list[Probe], answers: list[str]) -> None:
    """Keep what a model answered to all probes."""
    lines = [probe.line for probe in probes]
    results.save(turn, recipe, f"predictions-{label}", {"complete": True, "lines": lines, "answers": answers})


def kept_answers(turn: Turn, recipe: Recipe, label: str, probes: list[Probe]) -> list[str] | None:
    """The answers of a model to these probes; None when it was not asked them."""
    found = results.load(turn, recipe, f"predictions-{label}")
    return list(found["answers"]) if found.get("lines") == [probe.line for probe in probes] else None


def scored(turn: Turn, recipe: Recipe, probes: list[Probe]) -> list[Scored]:
    """All models of the sweep that were asked, base models first."""
    models: list[tuple[str, str, Candidate | None]] = [
        (scored_requests.base_label(recipe, base.name), base.name, None) for base in recipe.bases
    ]
    models += [(candidate.id, candidate.base_model, candidate) for candidate in recipe.candidates]
    found: list[Scored] = []
    for label, base, candidate in models:
        if (answers := kept_answers(turn, recipe, label, probes)) is not None:
            scores = score_answers(turn, recipe, probes, answers)
            found.append(Scored(label, base, candidate, answers, scores))
    return found


def scoreboard(turn: Turn, recipe: Recipe) -> str:
    """All models with the verdict of the sweep."""
    probes = probes_of(turn, recipe)
    models = scored(turn, recipe, probes)
    bases = {model.base: model for model in models if model.candidate is None}
    return prompts.render(
        "scored_scoreboard.md.j2",
        rows=[_row(model, bases[model.base]) for model in models],
        jobs={job.label: job for job in results.load_jobs(turn, recipe)},
        base_loss=next((job.base_loss for job in results.load_jobs(turn, recipe) if job.base_loss is not None), None),
        recipe=recipe,
        verdict=Verdict(**results.load(turn, recipe, "sweep")),
        probes=len(probes),
    )


def _row(model: Scored, base: Scored) -> dict[str, Any]:
    return {
        "label": model.label,
        "base": model.base,
        "candidate": model.candidate,
        "score": interval_of(model.values),
        "gain": difference(base.values, model.values) if model.candidate else None,
        "failed": sum(bool(one.error) for one in model.scores),
    }


def write_answers(turn: Turn, probes: list[Probe], models: list[Scored]) -> None:
    """Every row with what every model said to it, and its score: all numbers of the table follow from this file."""
    lines: list[str] = []
    for place, probe in enumerate(probes):
        said = {model.label: _said(model.answers[place], model.scores[place]) for model in models}
        row = {"heldoutLine": probe.line, "messages": probe.messages, "reference": probe.reference, "models": said}
        lines.append(json.dumps(row, ensure_ascii=False) + "\n")
    turn.workspace.write_text(ANSWERS, "".join(lines))


def _said(answer: str, one: Score) -> dict[str, Any]:
    return {"answer": answer, "score": one.value} | ({"error": one.error} if one.error else {})
