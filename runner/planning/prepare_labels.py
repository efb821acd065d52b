"""Collect what a classification plan follows from: the labels and the sides, beside what every plan needs."""

from dataclasses import replace
from typing import Any

from pilotlight.errors import FailedPrecondition
from runner.data.label_rules import parse_rule
from runner.data.label_sides import Labelled, make_label_sides
from runner.data.label_store import load_labelling, save_labelling
from runner.data.labels import label_file
from runner.data.split import SWEEP_ROWS
from runner.data.store import load_facts, load_source
from runner.planning.catalogue import BaseFacts
from runner.planning.draft import Inputs
from runner.planning.label_facts import collect_labels
from runner.planning.prepare import collect
from runner.turn import Turn

_SAID_BY_LABELS = ("label_noise", "leakage", "short_answer")
"""Kinds of findings that the labels say more about."""


def labelled(turn: Turn, role: str, rule: str | None) -> Labelled:
    """A staged dataset with its labels, read once. Raises FailedPrecondition where no rule finds any."""
    source, facts = load_source(turn.workspace, role), load_facts(turn.workspace, role)
    if source is None or facts is None:
        raise FailedPrecondition("The dataset has not been inspected yet.")
    key = f"{facts['content_hash']} {rule or ''}"
    labelling = load_labelling(turn.workspace, role, key)
    if labelling is None:
        labelling = label_file(source, parse_rule(rule) if rule else None)
        save_labelling(turn.workspace, role, key, labelling)
    return Labelled(source, labelling)


def labelled_sides(turn: Turn, intent: dict[str, Any]) -> tuple[Labelled, Labelled | None]:
    """The training dataset and, if there is one, the evaluation dataset."""
    rule = intent.get("label_rule")
    train = labelled(turn, "train", rule)
    return train, labelled(turn, "eval", rule) if intent.get("eval_dataset") else None


def collect_classification(turn: Turn, intent: dict[str, Any], bases: list[BaseFacts], generation: int) -> Inputs:
    """Everything draft_classification() needs; writes the files of the sides."""
    train, evaluation = labelled_sides(turn, intent)
    facts, division = collect_labels(train, evaluation, intent)
    prefix = (turn.context.account, turn.context.session)
    rows = int(intent.get("hp_samples") or SWEEP_ROWS)
    sides = make_label_sides(turn.workspace, prefix, train, evaluation, division, rows, facts.mitigation)
    inputs = collect(turn, intent, sides, bases, generation, without=_SAID_BY_LABELS)
    return replace(inputs, labels=facts, findings=[*inputs.findings, *facts.findings])
