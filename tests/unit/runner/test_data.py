"""Profiling, findings with line numbers, conversions and splits."""

import itertools
import json
import random
from array import array
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotlight.dataset import scan
from pilotlight.errors import FailedPrecondition
from runner.data.conversion import GROUND_TRUTH, TOOL_ROLE, convert
from runner.data.findings import from_scan
from runner.data.profile import profile_file
from runner.data.rows import answer_of, keys_of, prompt_of, read_lines
from runner.data.sides import Source, leaked_rows, make_sides
from runner.data.split import choose_heldout, choose_sample
from runner.data.store import load_source, save_source
from runner.workspace import Workspace


def chat(user: str, answer: str, system: str = "") -> dict[str, Any]:
    head = [{"role": "system", "content": system}] if system else []
    return {"messages": [*head, {"role": "user", "content": user}, {"role": "assistant", "content": answer}]}


def write(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def found(path: Path) -> dict[str, list[int]]:
    return {finding.code: [line for line, _ in finding.lines] for finding in profile_file(path, {}).findings}


LONG = "the quick brown fox jumps over the lazy dog and then runs back home to its warm den every single night"


def test_findings_name_their_lines(tmp_path: Path) -> None:
    rows: list[Any] = [
        chat("where is my parcel?", "delivery"),
        chat("Where is my parcel", "delivery"),  # 2: near
        chat("where is my parcel?", "delivery"),  # 3: exact
        chat("where is my parcel?", "refund"),  # 4: label noise
        chat("order 17 is late", "delivery"),
        chat("order 18 is late", "delivery"),  # 6: near, but for the number
        chat("x", "   "),  # 7: empty
        {"messages": [{"role": "robot", "content": "hi"}]},  # 8: role
        {"messages": [{"role": "user", "content": "only a question"}]},  # 9: nothing to learn
        "not json",  # 10
        *[chat(f"filler number {word}", "login") for word in ("ant", "bee", "cat", "dog", "elk", "fox", "gnu")],
    ]
    codes = found(write(tmp_path / "data.jsonl", rows))
    assert codes["near_duplicate"] == [2, 6]
    assert codes["exact_duplicate"] == [3]
    assert codes["label_noise"] == [4]
    assert codes["empty_answer"] == [7]
    assert codes["role_error"] == [8, 9]
    assert codes["broken_row"] == [10]


def test_long_rows_that_differ_in_a_word_are_near_duplicates(tmp_path: Path) -> None:
    rows = [chat(LONG, "yes"), chat(LONG.replace("warm", "cosy"), "yes"), chat("something else entirely", "no")]
    assert found(write(tmp_path / "data.jsonl", rows))["near_duplicate"] == [2]


def test_different_rows_are_no_near_duplicates(tmp_path: Path) -> None:
    rng, words = random.Random(3), ["".join(pair) for pair in itertools.product("abcdefghijklmnopqrst", repeat=2)]
    rows = [chat(" ".join(rng.choices(words, k=40)), "yes") for _ in range(500)]
    assert "near_duplicate" not in found(write(tmp_path / "data.jsonl", rows))


def test_free_text_answers_are_no_labels(tmp_path: Path) -> None:
    rows = [chat("how are you?", f"I am fine, thank you, and this is answer {n} " * 2) for n in range(20)]
    profile = profile_file(write(tmp_path / "data.jsonl", rows), {})
    assert not profile.labelled
    assert "label_noise" not in {finding.code for finding in profile.findings}


def test_warnings_of_the_format_check_are_findings(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_bytes(b"".join(json.dumps(chat(f"q{n}", "a")).encode() + b"\r\n" for n in range(5)))
    (finding,) = from_scan(scan(path))
    assert "Windows line ends" in finding.sentence()
    assert profile_file(path, {}).usable == 5


@pytest.mark.parametrize("truth", ["72", 72, 7.5])
def test_ground_truth_becomes_the_answer(truth: Any) -> None:
    row = {"messages": [{"role": "user", "content": "6 * 12?"}], "ground_truth": truth}
    converted, done = convert(row)
    assert done == [GROUND_TRUTH]
    assert answer_of(converted) == str(truth)
    assert "assistant" not in str(row)  # the source row is not touched


def test_ground_truth_beside_an_answer_changes_nothing() -> None:
    row = chat("6 * 12?", "It is #### 72") | {"ground_truth": "72"}
    assert convert(row) == (row, [])


def test_tool_roles_without_tools_are_rewritten_and_with_tools_kept() -> None:
    messages = [
        {"role": "user", "content": "weather?"},
        {"role": "assistant", "tool_calls": [{"function": {"name": "get", "arguments": "{}"}}]},
        {"role": "tool", "name": "get", "content": "sunny"},
        {"role": "assistant", "content": "It is sunny."},
    ]
    converted, done = convert({"messages": messages})
    assert done == [TOOL_ROLE]
    assert [message["role"] for message in converted["messages"]] == ["user", "assistant", "user", "assistant"]
    assert converted["messages"][1]["content"] == "get({})"
    assert converted["messages"][2]["content"] == "Result of get: sunny"
    kept = {"messages": messages, "tools": [{"type": "function", "function": {"name": "get"}}]}
    assert convert(kept) == (kept, [])


def test_content_parts_count_as_text() -> None:
    parts = [{"type": "text", "text": "hello "}, {"type": "text", "text": "there"}]
    assert keys_of(chat("x", "y")) != keys_of({"messages": [{"role": "user", "content": parts}]})
    row = {"messages": [{"role": "user", "content": parts}, {"role": "assistant", "content": "hi"}]}
    assert keys_of(row).group == keys_of(chat("hello there", "hi")).group
    assert prompt_of(row) == row["messages"][:1]


@given(st.lists(st.integers(0, 40), min_size=2, max_size=300), st.floats(0.05, 0.5))
def test_no_group_is_parted_and_both_sides_exist(groups: list[int], share: float) -> None:
    chosen = choose_heldout(array("Q", groups), share)
    held = [group in chosen for group in groups]
    assert any(held)
    assert len(set(groups)) == 1 or not all(held)
    assert chosen == choose_heldout(array("Q", random.Random(1).sample(groups, len(groups))), share)


def test_share_is_met_when_all_rows_differ() -> None:
    groups = array("Q", range(10_000))
    assert abs(len(choose_heldout(groups)) - 2000) <= 1
    assert choose_heldout(groups) != choose_heldout(groups, seed=43)


@given(st.integers(1, 5000), st.integers(1, 2000))
def test_sample_is_seeded_and_without_replacement(rows: int, size: int) -> None:
    chosen = choose_sample(rows, size)
    assert len(chosen) == min(rows, size)
    assert chosen <= set(range(rows))
    assert chosen == choose_sample(rows, size)


def stage(tmp_path: Path, role: str, rows: list[Any]) -> Source:
    path = write(tmp_path / f"{role}.jsonl", rows)
    return Source(f"accounts/local/datasets/{role}", path, profile_file(path, {}))


PREFIX = ("local", "1779157376-41e1")


def test_sides_share_no_text_and_lose_no_row(tmp_path: Path) -> None:
    rows = [chat(f"question {n % 400}", f"answer {n % 400}") for n in range(1500)]
    workspace = Workspace(tmp_path / "work")
    sides = make_sides(workspace, PREFIX, stage(tmp_path, "train", rows), None, 1000, None)
    texts = {
        name: [line.raw for line in read_lines(workspace.data / str(side.file))]
        for name, side in sides._asdict().items()
    }
    assert not set(texts["train"]) & set(texts["heldout"])
    assert len(texts["train"]) + len(texts["heldout"]) == 1500
    assert len(texts["sample"]) == sides.sample.rows == 1000
    assert set(texts["sample"]) <= set(texts["train"])
    assert sides.train.name == "accounts/local/datasets/ft-1779157376-41e1-train"
    again = make_sides(workspace, PREFIX, stage(tmp_path, "train", rows), None, 1000, None)
    assert again == sides
    smaller = make_sides(workspace, PREFIX, stage(tmp_path, "train", rows), None, 500, None)
    assert smaller.sample.name.endswith("sample-2")  # a name never changes its content
    assert smaller.train == sides.train


def test_leaked_rows_leave_the_training_side(tmp_path: Path) -> None:
    train = stage(tmp_path, "train", [chat(f"q{n}", "a") for n in "abcdefghij"])
    held = stage(tmp_path, "held", [chat(f"Q{n}!", "a") for n in "abcxyz"])
    assert leaked_rows(train.profile, held.profile) == [0, 1, 2]
    sides = make_sides(Workspace(tmp_path / "work"), PREFIX, train, held, 1000, None)
    assert (sides.train.rows, sides.heldout.rows) == (7, 6)
    assert sides.heldout.name == held.name  # the user's dataset is used as it is
    assert sides.heldout.file is None


def test_own_evaluation_data_and_clean_training_data_are_used_as_they_are(tmp_path: Path) -> None:
    train = stage(tmp_path, "train", [chat(f"q{n}", "a") for n in "abcdef"])
    held = stage(tmp_path, "held", [chat(f"q{n}", "a") for n in "uvwxyz"])
    sides = make_sides(Workspace(tmp_path / "work"), PREFIX, train, held, 1000, None)
    assert [side.file for side in sides] == [None, None, None]
    assert sides.train.name == sides.sample.name == train.name


def test_too_few_rows_are_refused(tmp_path: Path) -> None:
    source = stage(tmp_path, "train", [chat(f"q{n}", "a") for n in "abcde"])
    with pytest.raises(FailedPrecondition, match="too few rows"):
        make_sides(Workspace(tmp_path / "work"), PREFIX, source, None, 1000, None)


def test_a_profile_survives_the_disk(tmp_path: Path) -> None:
    source = stage(tmp_path, "train", [chat("same", "a"), chat("same", "a"), chat("other 1", "b")])
    workspace = Workspace(tmp_path / "work")
    staged = source._replace(path=workspace.data / source.path.name)
    save_source(workspace, "train", staged, {})
    assert load_source(workspace, "train") is not None
    kept = load_source(workspace, "train")
    assert kept is not None
    assert (kept.profile.lines, kept.profile.groups, kept.profile.tokens) == (
        source.profile.lines,
        source.profile.groups,
        source.profile.tokens,
    )
    assert kept.profile.findings == source.profile.findings
