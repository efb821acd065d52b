"""Both pair formats are read alike, and equal prompts have equal keys."""

import io
import json
from typing import Any

import pytest

from pilotlight.dataset import RowKind, prompt_key, read_pair, scan
from pilotlight.errors import InvalidArgument

SYSTEM, USER = {"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}
GOOD, BAD = {"role": "assistant", "content": "Hello"}, {"role": "assistant", "content": "What?"}
TOOLS = [{"type": "function", "function": {"name": "look", "parameters": {}}}]
LISTS: dict[str, Any] = {
    "input": {"messages": [SYSTEM, USER], "tools": TOOLS},
    "preferred_output": [GOOD],
    "non_preferred_output": [BAD],
}
MESSAGES = LISTS | {"preferred_output": GOOD, "non_preferred_output": BAD}
SIDES: dict[str, Any] = {
    "chosen": {"messages": [SYSTEM, USER, GOOD], "tools": TOOLS},
    "rejected": {"messages": [SYSTEM, USER, BAD], "tools": TOOLS},
}


@pytest.mark.parametrize("row", [LISTS, MESSAGES, SIDES])
def test_every_form_is_the_same_pair(row: dict[str, Any]) -> None:
    report = scan(io.BytesIO("\n".join([json.dumps(row)] * 3).encode()))
    assert (report.kind, report.errors, report.warnings, report.tool_rows > 0) == (RowKind.PREFERENCE, 0, 0, True)
    assert read_pair(row) == ([SYSTEM, USER], GOOD, BAD, TOOLS, 1.0)
    assert read_pair(row | {"weight": 0.5}).weight == 0.5
    assert prompt_key(row) == prompt_key(LISTS)


def test_no_tools_and_an_empty_list_of_them_are_alike() -> None:
    without = LISTS | {"input": {"messages": [SYSTEM, USER]}}
    empty = LISTS | {"input": {"messages": [SYSTEM, USER], "tools": []}}
    assert read_pair(without) == read_pair(empty)
    assert prompt_key(without) == prompt_key(empty) != prompt_key(LISTS)


def test_the_key_is_the_prompts_alone() -> None:
    other_answers = LISTS | {"preferred_output": [BAD], "non_preferred_output": [GOOD], "weight": 2.0}
    spelled_otherwise = LISTS | {"input": {"tools": TOOLS, "messages": [SYSTEM, {"content": "Hi", "role": "user"}]}}
    assert prompt_key(LISTS) == prompt_key(other_answers) == prompt_key(spelled_otherwise)
    other_prompt = LISTS | {"input": {"messages": [SYSTEM, {**USER, "content": "Hi!"}], "tools": TOOLS}}
    assert prompt_key(other_prompt) != prompt_key(LISTS)


@pytest.mark.parametrize(
    "row",
    [
        {},
        {"input": {"messages": [USER]}},
        LISTS | {"input": None},
        LISTS | {"preferred_output": []},
        LISTS | {"preferred_output": [GOOD, GOOD]},
        LISTS | {"non_preferred_output": [USER]},
        SIDES | {"rejected": {"messages": [USER, BAD]}},
        SIDES | {"chosen": {"messages": []}},
    ],
)
def test_what_is_no_pair_is_refused(row: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument):
        read_pair(row)
