"""Asking a model about held-out pairs: what it answers itself, and how likely it finds both answers of each pair.

An answer's score is the sum of the log-probabilities of its tokens and of the end of its turn, after the pair's own
prompt. Tokens are those of the model's template and tokenizer; base and tuned models share them.
"""

import itertools
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from pilotlight.dataset import read_pair
from pilotlight.errors import FailedPrecondition, InvalidArgument
from runner import results, serving
from runner.data.rows import read_lines
from runner.data.split import choose_sample
from runner.likelihoods import AT_ONCE, PROBES, ask_rest, measure, template_ids
from runner.planning import label_requests, requests
from runner.planning.recipe import Recipe
from runner.scoring.pairs import Likelihood
from runner.turn import Turn

READINGS = "outputs/preference_pairs.jsonl"

Message = dict[str, Any]


class Probe(NamedTuple):
    """A held-out pair."""

    line: int
    messages: list[Message]
    tools: list[Any]
    preferred: Message
    other: Message


class Tokens(NamedTuple):
    """A pair as tokens; answers end with the end of the turn."""

    prompt: list[int]
    preferred: list[int]
    other: list[int]


class Reading(NamedTuple):
    """What a model makes of one pair: its own answer, and the likelihoods; None where the pair is too long for it."""

    text: str
    likelihood: Likelihood | None


class Target(NamedTuple):
    """One model as it is asked: kept under `label`; `address` is what the request names, `base` its base model."""

    label: str
    model: str
    address: str
    base: str


def list_pairs(recipe: Recipe, workspace_data: Path) -> list[Probe]:
    """`recipe.prompts` held-out pairs, chosen with seed 42."""
    chosen = choose_sample(recipe.heldout.rows, recipe.prompts)
    return list(_pairs(workspace_data / str(recipe.heldout.file), chosen))


def _pairs(path: Path, chosen: set[int]) -> Iterator[Probe]:
    for place, line in enumerate(read_lines(path)):
        if place in chosen and line.value is not None:
            pair = read_pair(line.value)
            yield Probe(line.number, pair.prompt, pair.tools or [], pair.preferred, pair.other)


def read_model(turn: Turn, recipe: Recipe, target: Target, probes: Sequence[Probe]) -> list[Reading]:
    """The readings of one model, kept as they come: neither a restart nor another replica asks again."""
    readings = _load(turn, recipe, target.label)
    if len(readings) == len(probes):
        return readings
    name = target.model.rsplit("/", 1)[-1]
    turn.say(f"Asking {name} about {len(probes):,} held-out pairs.", f"ask/{recipe.generation}/{target.label}")
    encoded = _encode(turn, recipe, target, probes)

    def one(place: int) -> Reading:
        return _read(turn, recipe, target.address, probes[place], encoded[place])

    def keep(complete: bool) -> None:
        _save(turn, recipe, target, readings, complete)

    return ask_rest(readings, range(len(probes)), one, keep)


def kept_readings(turn: Turn, recipe: Recipe, label: str) -> list[Reading] | None:
    """What a model made of the pairs before; None when it was not asked about all of them."""
    return _load(turn, recipe, label) if label in results.asked_models(turn, recipe) else None


def write_readings(turn: Turn, probes: Sequence[Probe], models: dict[str, list[Reading]]) -> None:
    """Every pair with what every model made of it: the file that all scores can be recomputed from."""
    rows: list[str] = []
    for place, probe in enumerate(probes):
        said = {name: _wire(readings[place]) for name, readings in models.items()}
        pair = {"preferred": probe.preferred, "nonPreferred": probe.other}
        row = {"heldoutLine": probe.line, "messages": probe.messages, **pair, "models": said}
        rows.append(json.dumps(row, ensure_ascii=False) + "\n")
    turn.workspace.write_text(READINGS, "".join(rows))


def _wire(reading: Reading) -> dict[str, Any]:
    known = reading.likelihood
    return {"answer": reading.text, "likelihood": None if known is None else known._asdict()}


def _save(turn: Turn, recipe: Recipe, target: Target, readings: list[Reading], complete: bool) -> None:
    kept = {"model": target.model, "complete": complete, "answers": [[r.text, r.likelihood] for r in readings]}
    results.save(turn, recipe, f"predictions-{target.label}", kept)


def _load(turn: Turn, recipe: Recipe, label: str) -> list[Reading]:
    answers = results.load(turn, recipe, f"predictions-{label}").get("answers", [])
    return [Reading(text, None if known is None else Likelihood(*known)) for text, known in answers]


def _read(turn: Turn, recipe: Recipe, address: str, probe: Probe, tokens: Tokens | None) -> Reading:
    if tokens is None:
        return Reading("", None)
    body = requests.question_body(recipe, address, probe.messages) | ({"tools": probe.tools} if probe.tools else {})
    text = serving.ask(turn, body)
    preferred, other = measure(turn, address, tokens.prompt, [tokens.preferred, tokens.other])
    return Reading(text, Likelihood(preferred, other, len(tokens.preferred), len(tokens.other)))


def _encode(turn: Turn, recipe: Recipe, target: Target, probes: Sequence[Probe]) -> list[Tokens | None]:
    """The pairs in tokens of the target's base model, made once for all of its models; None where one is too long.

    Raises FailedPrecondition for a platform or a template that does not tell where an answer ends.
    """
    name = f"tokens-{label_requests.bench_label(recipe, target.base)}"
    kept = results.load(turn, recipe, name).get("pairs", [])
    if len(kept) != len(probes):
        tail = _tail(turn, target.address)

        def one(probe: Probe) -> Tokens | None:
            return _tokens(turn, target.address, probe, tail)

        with ThreadPoolExecutor(AT_ONCE) as pool:
            kept = list(pool.map(one, probes))
        results.save(turn, recipe, name, {"pairs": kept})
    return [None if pair is None else Tokens(*pair) for pair in kept]


def _tokens(turn: Turn, address: str, probe: Probe, tail: list[int]) -> Tokens | None:
    try:
        start = template_ids(turn, address, probe.messages, probe.tools)
        both = [
            template_ids(turn, address, [*probe.messages, answer], probe.tools)
            for answer in (probe.preferred, probe.other)
        ]
    except InvalidArgument as error:
        if "too long" not in error.message:
            raise
        return None
    if any(ids[-len(tail) :] != tail for ids in both):
        raise FailedPrecondition(f"The chat template of {address} does not end all answers alike.")
    begun = _shared(start, *both)
    answers = [[*ids[begun : len(ids) - len(tail)], tail[0]] for ids in both]
    return Tokens(both[0][:begun], answers[0], answers[1])


def _tail(turn: Turn, address: str) -> list[int]:
    """What the template writes after an answer: the end of its turn, and the beginning of the next one."""
    question = {"role": "user", "content": "?"}
    one, other = (template_ids(turn, address, [question, {"role": "assistant", "content": probe}]) for probe in PROBES)
    shared = _shared(one[::-1], other[::-1])
    if not shared:
        raise FailedPrecondition(f"The chat template of {address} does not end answers alike.")
    return one[len(one) - shared :]


def _shared(*sequences: list[int]) -> int:
    """How many first tokens all of them share."""
    alike = (len(set(tokens)) == 1 for tokens in zip(*sequences, strict=False))
    return sum(1 for _ in itertools.takewhile(bool, alike))
