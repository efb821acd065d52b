"""Asking a model for labels twice: what it writes, and which of the given answers it finds most likely.

An answer's score is the sum of the log-probabilities of its tokens and of the end of the turn, after the row's own
prompt: a proper comparison also where one label begins another. Tokens are those of the model's template and tokenizer.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pilotlight.errors import InvalidArgument
from runner import results, serving
from runner.data.label_sides import SEPARATOR
from runner.data.rows import answer_of, prompt_of, read_lines
from runner.data.split import choose_sample
from runner.likelihoods import ask_rest, measure, prompt_ids, spell
from runner.planning import label_requests
from runner.planning.recipe import Recipe
from runner.scoring.answers import Matcher, choose
from runner.turn import Turn

ANSWERS = "outputs/evaluation_answers.jsonl"


class Probe(NamedTuple):
    """A held-out row as a question, and its labels."""

    line: int
    messages: list[dict[str, Any]]
    tools: list[Any]
    labels: list[str]


class Prediction(NamedTuple):
    """What a model answered to one row. `fits` is False where the row is too long for it: that counts as wrong."""

    text: str
    free: tuple[str, ...]
    choice: tuple[str, ...]
    share: float
    """The chosen answer's share of the probability of all answers."""
    fits: bool = True


class Target(NamedTuple):
    """One model as it is asked: kept under `label`; `address` is what the request names."""

    label: str
    model: str
    address: str


def list_probes(recipe: Recipe, workspace_data: Path) -> list[Probe]:
    """`recipe.prompts` held-out rows, chosen with seed 42."""
    chosen = choose_sample(recipe.heldout.rows, recipe.prompts)
    return list(_probes(recipe, workspace_data / str(recipe.heldout.file), chosen))


def _probes(recipe: Recipe, path: Path, chosen: set[int]) -> Iterator[Probe]:
    for place, line in enumerate(read_lines(path)):
        if place in chosen:
            row = line.value or {}
            answer = answer_of(row) or ""
            labels = answer.split(SEPARATOR) if recipe.labels.multi else [answer]
            yield Probe(line.number, prompt_of(row), row.get("tools") or [], labels)


def predict(turn: Turn, recipe: Recipe, target: Target, probes: Sequence[Probe]) -> list[Prediction]:
    """The predictions of one model, kept as they come: neither a restart nor another replica asks again."""
    predictions = _load(turn, recipe, target.label)
    if len(predictions) == len(probes):
        return predictions
    turn.say(
        f"Asking {target.model.rsplit('/', 1)[-1]} for the labels of {len(probes):,} held-out rows.",
        f"ask/{recipe.generation}/{target.label}",
    )
    spelled = spell(turn, target.address, [SEPARATOR.join(choice) for choice in recipe.labels.choices])
    matcher = Matcher(recipe.labels.labels, recipe.labels.multi)

    def one(probe: Probe) -> Prediction:
        return _predict(turn, recipe, target.address, probe, spelled, matcher)

    def keep(complete: bool) -> None:
        _save(turn, recipe, target, predictions, complete)

    return ask_rest(predictions, probes, one, keep)


def kept_predictions(turn: Turn, recipe: Recipe, label: str) -> list[Prediction] | None:
    """What a model was asked before; None when it was not asked all rows."""
    return _load(turn, recipe, label) if label in results.asked_models(turn, recipe) else None


def _save(turn: Turn, recipe: Recipe, target: Target, predictions: list[Prediction], complete: bool) -> None:
    answers = [prediction._asdict() for prediction in predictions]
    kept = {"model": target.model, "complete": complete, "answers": answers}
    results.save(turn, recipe, f"predictions-{target.label}", kept)


def _load(turn: Turn, recipe: Recipe, label: str) -> list[Prediction]:
    answers = results.load(turn, recipe, f"predictions-{label}").get("answers", [])
    return [Prediction(**a | {"free": tuple(a["free"]), "choice": tuple(a["choice"])}) for a in answers]


def write_answers(turn: Turn, probes: Sequence[Probe], models: dict[str, list[Prediction]]) -> None:
    """Every row with what every model said to it: the file that all scores can be recomputed from."""
    rows: list[str] = []
    for place, probe in enumerate(probes):
        said = {name: predictions[place]._asdict() for name, predictions in models.items()}
        row = {"heldoutLine": probe.line, "messages": probe.messages, "labels": probe.labels, "models": said}
        rows.append(json.dumps(row, ensure_ascii=False) + "\n")
    turn.workspace.write_text(ANSWERS, "".join(rows))


def _predict(
    turn: Turn, recipe: Recipe, address: str, probe: Probe, spelled: list[list[int]], matcher: Matcher
) -> Prediction:
    try:
        body = label_requests.chat_body(recipe, address, probe.messages, probe.tools)
        reply = serving.post(turn, serving.CHAT_PATH, body)
        scores = measure(turn, address, prompt_ids(reply), spelled)
    except InvalidArgument as error:
        if "too long" not in error.message:
            raise
        return Prediction("", (), (), 0.0, fits=False)
    text, best = serving.text_of(reply), choose(scores)
    return Prediction(text, matcher.match(text), tuple(recipe.labels.choices[best.place]), round(best.share, 6))
