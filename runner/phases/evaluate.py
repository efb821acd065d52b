"""Phase 5: base against tuned model on held-out rows: losses of the jobs, and task metrics by real inference [A97]."""

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from langgraph.types import Command

import prompts
from pilotlight.plan import Candidate, Phase
from runner import heldout, results, serving
from runner.data.rows import answer_of, chat_of, prompt_of, read_lines
from runner.data.split import choose_sample
from runner.jobs import JobResult
from runner.limits import STOPPING, stop_phase
from runner.planning import requests
from runner.planning.recipe import Recipe
from runner.results import load_recipe
from runner.scoring.intervals import bootstrap, interval_of
from runner.scoring.metrics import choose_metrics
from runner.state import State
from runner.turn import Turn

ANSWERS = "outputs/evaluation_answers.jsonl"
_AT_ONCE = 16


class Probe(NamedTuple):
    """A held-out row as an evaluation request."""

    line: int
    messages: list[dict[str, Any]]
    tools: list[Any]
    reference: str


Metrics = dict[str, Any]
"""What was measured: `probes`, `metrics` (the most telling first), and whatever else the variant keeps."""


def run(turn: Turn, state: State) -> Command[str]:
    """To deployment; to the question for more at a limit; to trouble when the replica cannot be used."""
    return run_with(turn, state, _score)


def run_with(turn: Turn, state: State, score: Callable[[Turn, Recipe, Candidate], Metrics]) -> Command[str]:
    """The phase, with a measurement of its own."""
    recipe = load_recipe(turn)
    turn.phase(Phase.EVALUATE, "started", recipe.generation)
    candidate = recipe.candidate(state.get("winner", ""))
    try:
        scores = score(turn, recipe, candidate)
    except STOPPING as error:
        name = requests.deployment_name(recipe, requests.evaluation_deployment(recipe, candidate))
        return stop_phase(turn, Phase.EVALUATE, "evaluation", name, error)
    job = winning_job(turn, recipe, candidate)
    found = {"base_loss": _base_loss(turn, recipe, job), "tuned_loss": job.eval_loss, "loss": job.loss, **scores}
    if rows := heldout.load(turn, recipe).get(job.label):
        found |= {"losses": {"base": rows.base_loss, "tuned": rows.loss, "change": rows.change}}
    results.save(turn, recipe, "evaluation", found)
    text = prompts.render("evaluation.md.j2", found=found, recipe=recipe)
    turn.workspace.write_text("outputs/evaluation.md", text)
    turn.artifact("outputs/evaluation.md", "Base against tuned model")
    turn.artifact(ANSWERS, "Every evaluation answer")
    turn.say(text, f"evaluate/{recipe.generation}")
    turn.cost(f"{recipe.generation}/evaluate")
    turn.phase(Phase.EVALUATE, "completed", recipe.generation, summary=f"{recipe.prompts} held-out prompts")
    return Command(goto="deploy")


def winning_job(turn: Turn, recipe: Recipe, candidate: Candidate) -> JobResult:
    """The job that made the model in question."""
    label = "final" if recipe.final else candidate.id
    return next(job for job in results.load_jobs(turn, recipe) if job.label == label)


def list_probes(recipe: Recipe, path: Path) -> list[Probe]:
    """`recipe.prompts` held-out rows, chosen with seed 42."""
    chosen = choose_sample(recipe.heldout.rows, recipe.prompts)
    return list(_probes(path, chosen))


def _probes(path: Path, chosen: set[int]) -> Iterator[Probe]:
    for place, line in enumerate(read_lines(path)):
        row = chat_of(line.value or {})
        if place in chosen and (reference := answer_of(row)) is not None:
            yield Probe(line.number, prompt_of(row), row.get("tools") or [], reference)


def _base_loss(turn: Turn, recipe: Recipe, job: JobResult) -> float | None:
    known = [job.base_loss, *(other.base_loss for other in results.load_jobs(turn, recipe))]
    return next((loss for loss in known if loss is not None), None)


def _score(turn: Turn, recipe: Recipe, candidate: Candidate) -> Metrics:
    probes = list_probes(recipe, turn.workspace.data / str(recipe.heldout.file))
    before, after = ask_both(turn, recipe, candidate, probes)
    write_answers(turn, probes, before, after)
    return {"probes": len(probes), "metrics": compare(probes, before, after)}


def ask_both(turn: Turn, recipe: Recipe, candidate: Candidate, probes: list[Probe]) -> tuple[list[str], list[str]]:
    """The answers of the base and of the tuned model, on one replica; what is kept is not asked again."""
    call = requests.evaluation_deployment(recipe, candidate)
    deployment = requests.deployment_name(recipe, call)
    serving.create(turn, call, deployment)
    serving.load_adapter(turn, requests.lora_load(recipe, candidate))
    tuned = requests.tuned_model(recipe, candidate)
    before = _ask_once(turn, recipe, "base", candidate.base_model, deployment, probes)
    after = _ask_once(turn, recipe, f"tuned-{candidate.id}", tuned, f"{tuned}#{deployment}", probes)
    return before, after


def _ask_once(turn: Turn, recipe: Recipe, label: str, model: str, address: str, probes: list[Probe]) -> list[str]:
    """The answers of one model, kept: neither a restart nor another replica asks again."""
    kept = results.load(turn, recipe, f"answers-{label}")
    if kept.get("model") == model and len(kept["answers"]) == len(probes):
        return list(kept["answers"])
    turn.say(
        f"Asking the {label.split('-')[0]} model {len(probes)} held-out prompts.", f"ask/{recipe.generation}/{label}"
    )
    answers = ask_all(turn, recipe, address, probes)
    results.save(turn, recipe, f"answers-{label}", {"model": model, "answers": answers})
    return answers


def ask_all(turn: Turn, recipe: Recipe, model: str, probes: list[Probe]) -> list[str]:
    """The answers of the model at this address: the first alone, to wake a sleeping replica once, then all at once."""

    def ask(probe: Probe) -> str:
        body = requests.question_body(recipe, model, probe.messages)
        return serving.ask(turn, body | ({"tools": probe.tools} if probe.tools else {}))

    first = [ask(probe) for probe in probes[:1]]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return first + list(pool.map(ask, probes[1:]))


def compare(probes: list[Probe], before: list[str], after: list[str]) -> list[dict[str, Any]]:
    """The metrics that make sense for these references, each of both models, with intervals."""
    references = [probe.reference for probe in probes]
    rows: list[dict[str, Any]] = []
    for name, metric in choose_metrics(references).items():
        base = [metric(answer, reference) for answer, reference in zip(before, references, strict=True)]
        tuned = [metric(answer, reference) for answer, reference in zip(after, references, strict=True)]
        gain = bootstrap([late - early for early, late in zip(base, tuned, strict=True)])
        rows.append({"name": name, "base": interval_of(base), "tuned": interval_of(tuned), "gain": gain})
    return rows


def write_answers(
    turn: Turn, probes: list[Probe], before: list[str], after: list[str], more: Sequence[dict[str, Any]] = ()
) -> None:
    """Every row with both answers (and what `more` says of it): all numbers of the phase follow from this file."""
    rows = [
        {
            "heldoutLine": probe.line,
            "messages": probe.messages,
            "reference": probe.reference,
            "base": base,
            "tuned": new,
        }
        for probe, base, new in zip(probes, before, after, strict=True)
    ]
    rows = [row | extra for row, extra in zip(rows, more, strict=True)] if more else rows
    turn.workspace.write_text(ANSWERS, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
