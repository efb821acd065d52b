"""Where labels are read, and what is said about those that are odd: real files, with line numbers."""

import json
from pathlib import Path
from typing import Any

import pytest

from pilotlight.dataset import Severity, scan
from pilotlight.errors import FailedPrecondition
from runner.data.label_rules import LabelRule, labels_of_truth, parse_rule, rank_rules
from runner.data.label_sides import Labelled, choose_rows
from runner.data.label_store import load_labelling, save_labelling
from runner.data.labels import Labelling, label_file
from runner.data.profile import profile_file
from runner.data.sides import Source
from runner.planning.label_facts import collect_labels
from runner.workspace import Workspace


def row(number: int, answer: str | None, **more: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": f"question number {number}"}]
    return {"messages": messages + ([{"role": "assistant", "content": answer}] if answer else [])} | more


def label(folder: Path, rows: list[dict[str, Any]], rule: LabelRule | None = None) -> Labelling:
    return labelled(folder, rows, rule).labelling


def labelled(folder: Path, rows: list[dict[str, Any]], rule: LabelRule | None = None) -> Labelled:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in rows))
    profile = profile_file(path, {finding.line: finding.reason for finding in scan(path).of(Severity.ERROR)})
    source = Source("accounts/local/datasets/rows", path, profile)
    return Labelled(source, label_file(source, rule))


def lines_of(labelling: Labelling, code: str) -> list[int]:
    return [line for finding in labelling.findings if finding.code == code for line, _ in finding.lines]


@pytest.mark.parametrize(
    ("answers", "rule", "found"),
    [
        (["refund", "login"], LabelRule("message"), {"refund", "login"}),
        (['{"intent": "a", "note": "%d"}', '{"intent": "b", "note": "x%d"}'], LabelRule("json", "intent"), {"a", "b"}),
        (["I thought about it.\nLabel: a", "Hm, %d.\n**Label:** b"], LabelRule("after", "Label"), {"a", "b"}),
        (["Category: a", "Category: b"], LabelRule("after", "Category"), {"a", "b"}),
    ],
)
def test_rule_follows_from_the_rows(tmp_path: Path, answers: list[str], rule: LabelRule, found: set[str]) -> None:
    rows = [row(n, answers[n % 2] % n if "%d" in answers[n % 2] else answers[n % 2]) for n in range(20)]
    labelling = label(tmp_path, rows)
    assert set(labelling.counts()) == found
    assert labelling.rule.startswith(rule.words())
    assert labelling.fits == 20


def test_rows_that_do_not_fit_are_named_and_left_out(tmp_path: Path) -> None:
    rows = [row(n, f"Label: {'ab'[n % 2]}") for n in range(10)] + [
        row(10, "I do not know."),
        row(11, "No idea\nat all"),
    ]
    made = labelled(tmp_path, rows)
    assert (made.labelling.fits, lines_of(made.labelling, "no_label")) == (10, [11, 12])
    assert [made.labelling.of_row(at) for at in (9, 10, 11)] == [("b",), None, None]
    assert choose_rows(made, ["a", "b"]).places == list(range(10))


def test_no_rule_fits(tmp_path: Path) -> None:
    with pytest.raises(FailedPrecondition, match="I found no labels"):
        label(tmp_path, [row(n, f"This is answer number {n}, and it is a long one.") for n in range(20)])


def test_given_rule_is_used_as_it_is(tmp_path: Path) -> None:
    rows = [row(n, json.dumps({"intent": "ab"[n % 2], "tone": "xyz"[n % 3]})) for n in range(12)]
    assert set(label(tmp_path, rows, parse_rule("json:tone")).counts()) == {"x", "y", "z"}
    assert set(label(tmp_path, rows).counts()) == {"a", "b"}
    assert 'not the field "tone"' in label(tmp_path, rows).rule


def test_ground_truth_comes_first(tmp_path: Path) -> None:
    rows = [row(n, "xy"[n % 2], ground_truth="ab"[n % 2]) for n in range(8)] + [
        row(n, "ab"[n % 2]) for n in range(8, 16)
    ]
    labelling = label(tmp_path, rows)
    assert labelling.counts() == {"a": 8, "b": 8}
    assert labelling.rule == "the row's ground_truth where it has one (8 rows), else the whole last assistant message"


def test_lists_are_several_labels(tmp_path: Path) -> None:
    rows = [row(n, None, ground_truth=["b", "a"] if n % 2 else ["a"]) for n in range(10)]
    labelling = label(tmp_path, rows)
    assert (labelling.multi, labelling.counts()) == (True, {"a": 10, "b": 5})
    assert labelling.sets == [("a",), ("a", "b")]


@pytest.mark.parametrize("truth", [None, True, 1.5, {}, [], [1], ["a", ""], "", "x" * 81, "a\nb"])
def test_what_is_no_label(truth: object) -> None:
    assert labels_of_truth(truth) is None


def test_spelling_and_noise_are_found_with_their_lines(tmp_path: Path) -> None:
    rows = [row(n, "refund" if n % 2 else "login") for n in range(10)]
    shouted = [{"role": "user", "content": "Question NUMBER 3!"}, {"role": "assistant", "content": "login"}]
    rows += [row(10, " Refund"), row(1, "login"), {"messages": shouted}]
    labelling = label(tmp_path, rows)
    assert labelling.counts() == {"refund": 6, "login": 7}
    assert lines_of(labelling, "label_spelling") == [11]
    assert lines_of(labelling, "label_noise") == [12, 13]


def test_labels_not_in_the_list_are_left_out(tmp_path: Path) -> None:
    made = labelled(tmp_path, [row(n, "abc"[n % 3]) for n in range(12)])
    chosen = choose_rows(made, ["B", "a"])
    assert chosen.counts() == {"a": 4, "B": 4}  # the user's spelling is the one that is learned
    assert (chosen.unlisted.count, [line for line, _ in chosen.unlisted.lines]) == (4, [3, 6, 9, 12])


def test_labelling_is_kept(tmp_path: Path) -> None:
    labelling = label(tmp_path, [row(n, "ab"[n % 2]) for n in range(10)])
    workspace = Workspace(tmp_path / "work")
    save_labelling(workspace, "train", "key", labelling)
    assert load_labelling(workspace, "train", "key") == labelling
    assert load_labelling(workspace, "train", "other") is None


def test_rules_that_look_closer_come_first() -> None:
    assert [fit.rule.kind for fit in rank_rules(['{"label": "a"}', '{"label": "b"}'] * 4)] == ["json", "message"]


def test_labels_with_commas_cannot_be_several(tmp_path: Path) -> None:
    rows = [row(n, None, ground_truth=["a, b"] if n % 2 else ["c"]) for n in range(10)]
    with pytest.raises(FailedPrecondition, match="cannot hold a comma"):
        collect_labels(labelled(tmp_path, rows), None, {})
    with pytest.raises(FailedPrecondition, match="200 is the most"):
        collect_labels(labelled(tmp_path, [row(n, f"label {n // 2}") for n in range(500)]), None, {})
