"""The labels of a dataset: read by a rule that the plan states, never guessed; what does not fit is left out."""

import hashlib
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from pilotlight.errors import FailedPrecondition
from runner.data.conversion import convert
from runner.data.findings import Finding, Findings
from runner.data.label_rules import LabelRule, labels_of_truth, rank_rules
from runner.data.rows import answer_of, prompt_of, read_lines, text_of
from runner.data.sides import Source

NONE = -1
"""In `Labelling.rows`: the row has no label."""
_OTHERS_NAMED = 3


@dataclass
class Labelling:
    """Labels by row. `rows` and `groups` have one entry per usable row of the profile, in file order."""

    rule: str
    """In words."""
    multi: bool
    """Whether a row can have several labels."""
    sets: list[tuple[str, ...]] = field(default_factory=list[tuple[str, ...]])
    """The different labels of one row that occur; spelled alike throughout."""
    rows: "array[int]" = field(default_factory=lambda: array("i"))
    """Index into `sets`, or NONE."""
    groups: "array[int]" = field(default_factory=lambda: array("Q"))
    """A key of what is asked: rows that ask the same but for case and punctuation share it."""
    fits: int = 0
    findings: list[Finding] = field(default_factory=list[Finding])

    def of_row(self, at: int) -> tuple[str, ...] | None:
        """The labels of the usable row at this position; None where it has none."""
        return None if self.rows[at] == NONE else self.sets[self.rows[at]]

    def counts(self) -> Counter[str]:
        """Rows per label."""
        counts: Counter[str] = Counter()
        for index, rows in Counter(self.rows).items():
            if index != NONE:
                counts.update(dict.fromkeys(self.sets[index], rows))
        return counts


def label_file(source: Source, rule: LabelRule | None = None) -> Labelling:
    """Read all labels. Raises FailedPrecondition when no rule (or not the given one) finds labels in most rows."""
    truths, lacking, found = 0, list[str](), rule
    for _, row in _usable(source):
        if labels_of_truth(row.get("ground_truth")):
            truths += 1
        elif row.get("ground_truth") is None:
            lacking.append(answer_of(convert(row)[0]) or "")
    others: list[str] = []
    if lacking and found is None:
        found, others = _choose(lacking)
    reader = _Reader(_words(found if lacking else None, truths, others), found)
    for number, row in _usable(source):
        reader.take(number, row)
    return reader.finish()


def spelling(label: str) -> str:
    """What labels have in common that differ in case and space only."""
    return " ".join(label.split()).casefold()


def _usable(source: Source) -> Iterator[tuple[int, dict[str, Any]]]:
    wanted = iter(source.profile.lines)
    next_one = next(wanted, None)
    for line in read_lines(source.path):
        if line.number == next_one:
            next_one = next(wanted, None)
            yield line.number, line.value or {}


def _choose(answers: list[str]) -> tuple[LabelRule, list[str]]:
    ranked = rank_rules(answers)
    good = [fit for fit in ranked if fit.is_enough(len(answers))]
    if not good:
        best = max(ranked, key=lambda fit: fit.rows, default=None)
        tried = f" The best rule ({best.rule.words()}) fits {best.rows:,} of {len(answers):,} rows" if best else ""
        tried += f" and gives {best.labels:,} different labels." if best else ""
        raise FailedPrecondition(
            f"I found no labels in the last assistant messages: no rule gives a few short labels that repeat.{tried}",
            hint="Give each row a ground_truth, or say where the label is: the JSON field intent, after 'Category:'.",
        )
    return good[0].rule, [fit.rule.words() for fit in good[1:] if fit.rule.kind == "json"][:_OTHERS_NAMED]


def _words(rule: LabelRule | None, truths: int, others: list[str]) -> str:
    if rule is None:
        return "the row's ground_truth"
    words = rule.words() + (f" (not {' or '.join(others)})" if others else "")
    return f"the row's ground_truth where it has one ({truths:,} rows), else {words}" if truths else words


class _Reader:
    """Takes row after row; then spells alike what differs in case and space only."""

    def __init__(self, words: str, rule: LabelRule | None) -> None:
        self._words, self._rule = words, rule
        self._found: list[tuple[int, list[str] | None]] = []
        self._labelling = Labelling(words, multi=False)
        self._spelled: Counter[str] = Counter()
        self._findings = Findings()
        self._asked: dict[int, tuple[int, frozenset[str]]] = {}

    def take(self, number: int, row: dict[str, Any]) -> None:
        labels, several = self._read(row)
        self._labelling.multi |= several
        self._spelled.update(labels or [])
        self._found.append((number, labels))
        key = _asked_key(row)
        self._labelling.groups.append(key)
        if labels is None:
            self._findings.add("no_label", "warning", number, "the rule finds none")
        else:
            self._note_noise(number, key, labels)

    def _read(self, row: dict[str, Any]) -> tuple[list[str] | None, bool]:
        truth = row.get("ground_truth")
        if truth is not None:
            return labels_of_truth(truth), isinstance(truth, list)
        labels = self._rule.read(answer_of(convert(row)[0]) or "") if self._rule else None
        return labels, len(labels or []) > 1

    def _note_noise(self, number: int, key: int, labels: list[str]) -> None:
        meant = frozenset(spelling(label) for label in labels)
        first, known = self._asked.setdefault(key, (number, meant))
        if known != meant:
            self._findings.add("label_noise", "warning", number, f"same input as line {first}, another label")

    def finish(self) -> Labelling:
        canonical: dict[str, str] = {}
        for label, _ in self._spelled.most_common():
            canonical.setdefault(spelling(label), label)
        made, places = self._labelling, dict[tuple[str, ...], int]()
        for number, labels in self._found:
            if labels is None:
                made.rows.append(NONE)
                continue
            if any(canonical[spelling(label)] != label for label in labels):
                self._findings.add("label_spelling", "info", number, "differs in case or space")
            meant = tuple(sorted({canonical[spelling(label)] for label in labels}))
            made.rows.append(places.setdefault(meant, len(places)))
            made.fits += 1
        made.sets, made.findings = list(places), self._findings.listed()
        return made


def _asked_key(row: dict[str, Any]) -> int:
    asked = [text_of(message) for message in prompt_of(convert(row)[0]) if message.get("role") != "system"]
    words = "".join(c if c.isalnum() else " " for c in " ".join(asked).casefold()).split()
    return int.from_bytes(hashlib.blake2b(" ".join(words).encode("utf-8", "surrogatepass"), digest_size=8).digest())
