"""How a label is read from an assistant message: the whole message, a JSON field, or what follows a marker [A182]."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

LONGEST_LABEL = 80
"""Characters; what is longer is a text, not a label."""
ENOUGH = 0.8
"""A rule is used when so many rows fit it."""
_MARKED = re.compile(r"^[\s*#>-]*([A-Za-z][A-Za-z _-]{0,24}?)\**\s*[:=]\s*\**\s*(.+?)[\s*]*$")
_USUAL_NAMES = ("label", "labels", "intent", "category", "class", "classification", "answer", "result", "sentiment")
_MOST_RULES, _MOST_LABELS = 200, 5000


class LabelRule(NamedTuple):
    """`message`, `json` with the field's name, or `after` with the marker's."""

    kind: Literal["message", "json", "after"]
    key: str = ""

    def words(self) -> str:
        """For people."""
        if self.kind == "json":
            return f'the field "{self.key}" of the JSON object in the last assistant message'
        if self.kind == "after":
            return f'the text after the last "{self.key}:" in the last assistant message'
        return "the whole last assistant message"

    def read(self, answer: str) -> list[str] | None:
        """The labels that the rule finds, None where the message does not fit it."""
        if self.kind == "message":
            return _as_labels(answer)
        found = _json_fields(answer) if self.kind == "json" else _marked(answer)
        return found.get(self.key)


class Fit(NamedTuple):
    """How well a rule fits: rows, and different labels."""

    rule: LabelRule
    rows: int
    labels: int

    def is_enough(self, rows: int) -> bool:
        """Whether most rows fit, and labels repeat as labels do."""
        return self.rows >= ENOUGH * rows and 2 <= self.labels <= max(2, self.rows // 2)


def parse_rule(said: str) -> LabelRule:
    """A rule as the intent holds it: `message`, `json:intent`, `after:Category`."""
    kind, _, key = said.partition(":")
    return LabelRule("json" if kind == "json" else "after" if kind == "after" else "message", key)


def rank_rules(answers: Iterable[str]) -> list[Fit]:
    """The rules that fit, the one to use first: rules that look closer at the message before those that take all."""
    rows, labels = Counter[LabelRule](), dict[LabelRule, set[str]]()
    total = 0
    for answer in answers:
        total += 1
        for rule, found in _fitting(answer):
            if rule in rows or len(rows) < _MOST_RULES:
                rows[rule] += 1
                known = labels.setdefault(rule, set())
                if len(known) < _MOST_LABELS:
                    known.update(found)
    fits = [Fit(rule, count, len(labels[rule])) for rule, count in rows.items()]
    return sorted(fits, key=lambda fit: (not fit.is_enough(total), *_order(fit)))


def labels_of_truth(truth: object) -> list[str] | None:
    """The labels of a row's `ground_truth` [A183]: a string, a whole number, or a list of strings; else None."""
    if isinstance(truth, bool) or truth is None:
        return None
    if isinstance(truth, str | int):
        return _as_labels(str(truth))
    return _listed(truth) if isinstance(truth, list) else None


def _order(fit: Fit) -> tuple[int, int, int, str]:
    kind = ("json", "after", "message").index(fit.rule.kind)
    name = fit.rule.key.casefold()
    usual = _USUAL_NAMES.index(name) if name in _USUAL_NAMES else len(_USUAL_NAMES)
    return kind, usual, fit.labels, fit.rule.key


def _fitting(answer: str) -> Iterator[tuple[LabelRule, list[str]]]:
    for key, found in _json_fields(answer).items():
        yield LabelRule("json", key), found
    for key, found in _marked(answer).items():
        yield LabelRule("after", key), found
    if (whole := _as_labels(answer)) is not None:
        yield LabelRule("message"), whole


def _json_fields(answer: str) -> dict[str, list[str]]:
    if not answer.lstrip().startswith("{"):
        return {}
    try:
        value = json.loads(answer)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(value, dict):
        return {}
    found = {str(key): labels_of_truth(item) for key, item in value.items()}
    return {key: labels for key, labels in found.items() if labels}


def _marked(answer: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in answer.splitlines():
        match = _MARKED.match(line) if len(line) <= 2 * LONGEST_LABEL else None
        labels = _as_labels(match[2]) if match else None
        if match and labels:
            found[match[1].strip()] = labels
    return found


def _as_labels(text: str) -> list[str] | None:
    label = text.strip()
    return [label] if label and len(label) <= LONGEST_LABEL and "\n" not in label else None


def _listed(items: list[object]) -> list[str] | None:
    labels = [_as_labels(item) if isinstance(item, str) else None for item in items]
    known = [label[0] for label in labels if label]
    return list(dict.fromkeys(known)) if known and len(known) == len(items) else None
