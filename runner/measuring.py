"""Asking a model for labels twice: what it writes, and which of the given answers it finds most likely.

An answer's score is the sum of the log-probabilities of its tokens and of the end of the turn, after the row's own
prompt: a proper comparison also where one label begins another. Tokens are those of the model's template and tokenizer.
"""

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from pilotlight.errors import FailedPrecondition, InvalidArgument
from runner import results, serving
from runner.data.label_sides import SEPARATOR
from runner.data.rows import answer_of, prompt_of, read_lines
from runner.data.split import choose_sample
from runner.planning import label_requests
from runner.planning.recipe import Recipe
from runner.scoring.answers import Matcher, choose
from runner.turn import Turn

ANSWERS = "outputs/evaluation_answers.jsonl"
_AT_ONCE, _KEPT_EACH = 8, 50
_PROBES = ("0", "z")
"""Two answers that share no character, to see what the template writes around an answer."""


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

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        while len(predictions) < len(probes):
            predictions += pool.map(one, probes[len(predictions) : len(predictions) + _KEPT_EACH])
            _save(turn, recipe, target, predictions, complete=len(predictions) == len(probes))
    return predictions


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


def measure(turn: Turn, address: str, prompt: list[int], spelled: list[list[int]]) -> list[float]:
    """The log-probability of each answer after a prompt, both as tokens; see spell() and prompt_ids()."""
    scores: list[float] = []
    for at in range(0, len(spelled), label_requests.CHOICES_AT_ONCE):
        batch = spelled[at : at + label_requests.CHOICES_AT_ONCE]
        last = max(map(len, batch))
        body = label_requests.measure_body(address, [[*prompt, *ids] for ids in batch], last)
        reply = serving.post(turn, label_requests.COMPLETIONS, body)
        choices = sorted(reply["choices"], key=lambda choice: int(choice["index"]))
        for ids, choice in zip(batch, choices, strict=True):
            scores.append(sum(map(float, choice["logprobs"]["token_logprobs"][-len(ids) :])))
    return scores


def spell(turn: Turn, address: str, answers: Sequence[str]) -> list[list[int]]:
    """The tokens of each answer with the end of the turn, as the model's own template writes them.

    Raises FailedPrecondition for a template that changes what is around an answer with the answer.
    """
    one, other = (_written(turn, address, probe) for probe in _PROBES)
    before = next(at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    after = next(at for at, (a, b) in enumerate(zip(reversed(one), reversed(other), strict=False)) if a != b)
    tail = one[len(one) - after :]
    spelled: list[list[int]] = []
    for answer in answers:
        ids = _written(turn, address, answer)
        if ids[:before] != one[:before] or ids[len(ids) - after :] != tail or not tail:
            raise FailedPrecondition(f"The chat template of {address} does not write answers as they are given.")
        spelled.append([*ids[before : len(ids) - after], tail[0]])
    return spelled


def _written(turn: Turn, address: str, answer: str) -> list[int]:
    return prompt_ids(serving.post(turn, serving.CHAT_PATH, label_requests.spell_body(address, answer)))


def prompt_ids(reply: dict[str, Any]) -> list[int]:
    """The tokens of the prompt that a reply was made to. Raises FailedPrecondition where it does not tell them."""
    choice = reply["choices"][0]
    ids = choice.get("prompt_token_ids") or reply.get("prompt_token_ids")
    if not ids:
        raise FailedPrecondition("The platform does not tell the tokens of a prompt, so answers cannot be measured.")
    return [int(token) for token in ids]
