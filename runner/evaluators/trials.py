"""Answers whose worth is known, made from the data: the right one, and ones that are wrong in different ways."""

import json
import random
import re
from collections.abc import Sequence
from typing import Any, Literal

from runner.evaluators.rows import Example
from runner.evaluators.scores import Case

Kind = Literal["truth", "other", "damaged", "cut", "unrelated", "empty"]
WORDS: dict[Kind, str] = {
    "truth": "the right answer",
    "other": "the right answer to another row",
    "damaged": "the right answer with its numbers, values or words changed",
    "cut": "the first half of the right answer",
    "unrelated": "an answer to no question",
    "empty": "no answer",
}
UNRELATED = "I am not able to help with that request."
_SEED = 42


def choose(examples: Sequence[Example], size: int) -> list[Example]:
    """`size` examples, with different right answers as far as there are."""
    mixed = random.Random(_SEED).sample(list(examples), len(examples))
    fresh: dict[str, Example] = {}
    for example in mixed:
        fresh.setdefault(_squeeze(example.truth), example)
    rest = [example for example in mixed if example is not fresh[_squeeze(example.truth)]]
    return [*fresh.values(), *rest][:size]


def make(examples: Sequence[Example], compares: bool) -> dict[Kind, list[Case]]:
    """The trials by kind. Where only the form is checked, what is right for another row is not wrong for this one."""
    trials: dict[Kind, list[Case]] = {kind: [] for kind in WORDS}
    for place, example in enumerate(examples):
        row = example.row
        trials["truth"].append(Case(row, example.answer))
        trials["unrelated"].append(Case(row, UNRELATED))
        trials["empty"].append(Case(row, ""))
        if isinstance(_json(example.answer), dict | list):
            trials["cut"].append(Case(row, example.answer[: len(example.answer) // 2]))
        if not compares:
            continue
        trials["damaged"].append(Case(row, damage(example.answer)))
        if (other := _another(examples, place)) is not None:
            trials["other"].append(Case(row, other.answer))
    return {kind: cases for kind, cases in trials.items() if cases}


def odd(examples: Sequence[Example]) -> list[Case]:
    """What no model should write and some do, and a row without its right answer."""
    row = examples[0].row
    texts = ("\x00", "9" * 20_000, "{" * 3000, "[" * 3000, "NaN", "-", "\U0001f600" * 200, "a " * 20_000)
    bare = {name: value for name, value in row.items() if name != "ground_truth"}
    return [*(Case(row, text) for text in texts), Case(bare, examples[0].answer)]


def damage(answer: str) -> str:
    """The answer with every value of its JSON, else every number, else every longer word changed."""
    value = _json(answer)
    if isinstance(value, dict | list):
        return json.dumps(_changed(value), ensure_ascii=False)
    if re.search(r"\d", answer):
        return re.sub(r"\d+", lambda match: str(int(match[0][-15:]) + 7), answer)
    changed = re.sub(r"\w{4,}", lambda match: match[0][::-1] + "x", answer)
    return changed if changed != answer else answer + "x"


def _changed(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _changed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_changed(item) for item in value]
    if isinstance(value, bool) or value is None:
        return "changed"
    return value + 7 if isinstance(value, int | float) else f"{value} changed"


def _another(examples: Sequence[Example], place: int) -> Example | None:
    """The next example with another right answer."""
    here = _squeeze(examples[place].truth)
    turned = [*examples[place + 1 :], *examples[:place]]
    return next((other for other in turned if _squeeze(other.truth) != here), None)


def _squeeze(text: str) -> str:
    return re.sub(r"\W+", "", text.casefold())


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
