"""The datasets of a classification plan: rows with a label, split so that each label is on both sides.

The source is never touched: in the new datasets the assistant answers with the label and nothing else.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pilotlight.tasks import Mitigation
from runner.data.conversion import convert
from runner.data.findings import Finding
from runner.data.labels import Labelling, spelling
from runner.data.profile import estimate_tokens
from runner.data.rows import messages_of, prompt_of, read_lines
from runner.data.sides import SideMaker, Sides, Source, check_size
from runner.data.split import HELDOUT_SHARE
from runner.data.strata import choose_share, equal_shares, rarest, weights_of
from runner.planning.recipe import DataSide
from runner.workspace import Workspace

SEPARATOR = ", "
"""Between the labels of a row that has several."""


class Labelled(NamedTuple):
    """A dataset with its labels."""

    source: Source
    labelling: Labelling


class Chosen(NamedTuple):
    """The rows of one dataset whose labels are all among the plan's. `labels` and `groups` go with `places`."""

    places: list[int]
    labels: list[tuple[str, ...]]
    groups: list[int]
    unlisted: Finding

    def counts(self) -> dict[str, int]:
        """Rows per label."""
        counts: dict[str, int] = {}
        for labels in self.labels:
            for label in labels:
                counts[label] = counts.get(label, 0) + 1
        return counts

    def pick(self, wanted: Sequence[bool]) -> "Chosen":
        """Those rows that are wanted."""
        kept = [at for at, want in enumerate(wanted) if want]
        places, labels, groups = self.places, self.labels, self.groups
        return Chosen(
            [places[at] for at in kept], [labels[at] for at in kept], [groups[at] for at in kept], self.unlisted
        )

    def strata(self) -> list[str]:
        """The label that each row counts for."""
        counts = self.counts()
        return [rarest(labels, counts) for labels in self.labels]


class Division(NamedTuple):
    """Both sides, before anything is written."""

    train: Chosen
    heldout: Chosen
    leaked: int


def choose_rows(labelled: Labelled, labels: Sequence[str]) -> Chosen:
    """The rows with labels of the list only, spelled as in the list."""
    listed = {spelling(label): label for label in labels}
    chosen = Chosen([], [], [], Finding("unlisted_label", "warning"))
    for at, key in enumerate(labelled.labelling.groups):
        found = labelled.labelling.of_row(at)
        if found is None:
            continue
        if any(spelling(label) not in listed for label in found):
            chosen.unlisted.count += 1
            if len(chosen.unlisted.lines) < 10:
                chosen.unlisted.lines.append((labelled.source.profile.lines[at], "not in the list"))
            continue
        meant = {listed[spelling(label)] for label in found}
        chosen.places.append(at)
        chosen.labels.append(tuple(label for label in labels if label in meant))
        chosen.groups.append(key)
    return chosen


def divide(train: Chosen, evaluation: Chosen | None, fraction: float | None) -> Division:
    """By label and by what is asked; a row that also occurs in the evaluation dataset is not trained on."""
    if evaluation is not None:
        held = set(evaluation.groups)
        kept = train.pick([key not in held for key in train.groups])
        return Division(kept, evaluation, len(train.places) - len(kept.places))
    share = HELDOUT_SHARE if fraction is None else 1 - fraction
    held = choose_share(train.groups, train.strata(), share)
    return Division(
        train.pick([key not in held for key in train.groups]), train.pick([key in held for key in train.groups]), 0
    )


def make_label_sides(
    workspace: Workspace,
    prefix: tuple[str, str],
    train: Labelled,
    evaluation: Labelled | None,
    division: Division,
    sample_rows: int,
    mitigation: Mitigation,
) -> Sides:
    """Write the files. `prefix` is (account, session). Raises FailedPrecondition when a side has too few rows."""
    check_size(len(division.train.places), len(division.heldout.places))
    maker = SideMaker(workspace, prefix, train.source)
    whole = _write(workspace, maker, "train", train.source, division.train, mitigation)
    sample = whole
    if len(division.train.places) > sample_rows:
        share = sample_rows / len(division.train.places)
        taken = choose_share(division.train.groups, division.train.strata(), share)
        rows = division.train.pick([key in taken for key in division.train.groups])
        sample = _write(workspace, maker, "sample", train.source, rows, mitigation)
    other = (evaluation or train).source
    return Sides(whole, sample, _write(workspace, maker, "heldout", other, division.heldout, "none"))


def _write(
    workspace: Workspace, maker: SideMaker, role: str, source: Source, rows: Chosen, mitigation: Mitigation
) -> DataSide:
    strata = rows.strata()
    times = equal_shares(strata) if mitigation == "rebalance" else [1] * len(strata)
    weights = weights_of(strata) if mitigation == "weights" else None
    path = workspace.data / f"{role}.jsonl"
    digest, tokens = _write_rows(source, path, rows, times, weights)
    return maker.keep(role, path, digest, sum(times), tokens)


def _write_rows(
    source: Source, path: Path, rows: Chosen, times: list[int], weights: list[float] | None
) -> tuple[str, int]:
    digest, tokens, at = hashlib.sha256(), 0, 0
    lines = [source.profile.lines[place] for place in rows.places]
    with path.open("wb") as stream:
        for line in read_lines(source.path):
            if at == len(lines):
                break
            if line.number != lines[at]:
                continue
            row = _labelled_row(line.value or {}, rows.labels[at], weights[at] if weights else None)
            raw = json.dumps(row, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n"
            stream.write(raw * times[at])
            digest.update(raw * times[at])
            tokens += estimate_tokens(messages_of(row)) * times[at]
            at += 1
    return digest.hexdigest(), tokens


def _labelled_row(source: dict[str, Any], labels: tuple[str, ...], weight: float | None) -> dict[str, Any]:
    row, _ = convert(source)
    answer = {"role": "assistant", "content": SEPARATOR.join(labels)}
    made: dict[str, Any] = {"messages": [*prompt_of(row), answer]}
    if row.get("tools"):
        made["tools"] = row["tools"]
    given = row.get("weight")
    if weight is not None or given is not None:
        made["weight"] = (1.0 if weight is None else weight) * (1.0 if given is None else float(given))
    return made
