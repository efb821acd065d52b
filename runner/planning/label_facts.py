"""What a classification plan follows from, beside what every plan does: the labels and their rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pilotlight.errors import FailedPrecondition
from pilotlight.tasks import Mitigation
from runner.data.findings import Finding
from runner.data.label_sides import Chosen, Division, Labelled, choose_rows, divide
from runner.data.labels import spelling

THRESHOLD = 50.0
"""Imbalance from which on mitigations are offered [A180]."""
MOST_LABELS = 200
MOST_CHOICES = 64
"""Sets of labels among which a model chooses where a row can have several."""
_HINT = "Name the labels ('Labels are: ...'), or say where the label is read."


@dataclass(frozen=True)
class LabelFacts:
    """Resolved labels. `counts` are rows of both sides together, `train` and `heldout` of each."""

    labels: list[str]
    given: bool
    multi: bool
    rule: str
    labelled_rows: int
    counts: dict[str, int]
    train: dict[str, int]
    heldout: dict[str, int]
    choices: list[list[str]]
    threshold: float
    mitigation: Mitigation
    findings: list[str]

    @property
    def ratio(self) -> float:
        """Rows of the most over rows of the least frequent label that has any."""
        known = [rows for rows in self.counts.values() if rows]
        return max(known) / min(known)

    @property
    def imbalanced(self) -> bool:
        """Whether the ratio is above the threshold."""
        return self.ratio > self.threshold


def choose_labels(train: Labelled, intent: dict[str, Any]) -> list[str]:
    """Those that the user named, else those of the training data, most frequent first; without what was dropped.

    Raises FailedPrecondition for fewer than two of them, or for so many that they can hardly be labels.
    """
    counts = train.labelling.counts()
    found = sorted(counts, key=lambda label: (-counts[label], label))
    dropped = {spelling(label) for label in intent.get("drop_labels") or []}
    named: list[str] = list(intent.get("labels") or found)
    labels = [label for label in named if spelling(label) not in dropped]
    if len(labels) < 2:
        raise FailedPrecondition(
            f"A classification needs at least two labels; there is {labels or 'none'}.", hint=_HINT
        )
    if len(labels) > MOST_LABELS:
        raise FailedPrecondition(
            f"There are {len(labels):,} labels by this rule ({train.labelling.rule}); {MOST_LABELS} is the most.",
            hint=_HINT,
        )
    return labels


def collect_labels(train: Labelled, evaluation: Labelled | None, intent: dict[str, Any]) -> tuple[LabelFacts, Division]:
    """Resolve the labels and divide the rows. Raises FailedPrecondition when there is nothing to learn."""
    labels = choose_labels(train, intent)
    rows = choose_rows(train, labels)
    if not rows.places:
        raise FailedPrecondition(f"No row has one of the labels {', '.join(labels[:10])}.", hint=_HINT)
    other = choose_rows(evaluation, labels) if evaluation is not None else None
    division = divide(rows, other, intent.get("train_fraction"))
    multi = train.labelling.multi or bool(evaluation and evaluation.labelling.multi)
    if multi and (odd := [label for label in labels if "," in label]):
        raise FailedPrecondition(
            f"Where a row can have several labels, a label cannot hold a comma, and {odd[0]!r} does.", hint=_HINT
        )
    counted = [{label: side.counts().get(label, 0) for label in labels} for side in (division.train, division.heldout)]
    counts = {label: counted[0][label] + counted[1][label] for label in labels}
    facts = LabelFacts(
        labels=labels,
        given=bool(intent.get("labels")),
        multi=multi,
        rule=train.labelling.rule,
        labelled_rows=train.labelling.fits,
        counts=counts,
        train=counted[0],
        heldout=counted[1],
        choices=_choices(division.train, labels, multi),
        threshold=float(intent.get("imbalance_threshold") or THRESHOLD),
        mitigation=intent.get("imbalance_mitigation") or "none",
        findings=[*_sentences(train, rows), *_of_evaluation(evaluation, other), *_of_sides(division, *counted)],
    )
    return facts, division


def _choices(train: Chosen, labels: Sequence[str], multi: bool) -> list[list[str]]:
    """Each label; where a row can have several, also the sets that occur in training, the most frequent ones."""
    single = [[label] for label in labels]
    if not multi:
        return single
    counts: dict[tuple[str, ...], int] = {}
    for found in train.labels:
        counts[found] = counts.get(found, 0) + 1
    several = sorted((s for s in counts if len(s) > 1), key=lambda found: (-counts[found], found))
    return [*single, *map(list, several[: max(0, MOST_CHOICES - len(single))])]


def _sentences(labelled: Labelled, rows: Chosen) -> list[str]:
    found = [*labelled.labelling.findings, *([rows.unlisted] if rows.unlisted.count else [])]
    return [finding.sentence() for finding in found]


def _of_evaluation(labelled: Labelled | None, rows: Chosen | None) -> list[str]:
    if labelled is None or rows is None:
        return []
    return [f"in the evaluation dataset: {text}" for text in _sentences(labelled, rows)]


def _of_sides(division: Division, train: dict[str, int], heldout: dict[str, int]) -> list[str]:
    found: list[str] = []
    if division.leaked:
        found.append(Finding("leakage", "warning", division.leaked).sentence())
    if unlearned := [label for label, rows in train.items() if not rows]:
        found.append(f"no training row for {', '.join(unlearned[:10])}: what is not shown cannot be learned")
    if unscored := [label for label, rows in heldout.items() if not rows]:
        found.append(f"no held-out row for {', '.join(unscored[:10])}: it is not scored")
    return found
