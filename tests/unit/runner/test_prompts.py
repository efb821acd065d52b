"""Templates are strict, and text from data cannot act in them."""

import ast
import subprocess
import sys

import jinja2
import pytest
from hypothesis import given
from hypothesis import strategies as st

import prompts


def test_a_missing_value_is_an_error() -> None:
    with pytest.raises(jinja2.UndefinedError):
        prompts.render("trouble.md.j2")


@given(st.text())
def test_code_spans_cannot_be_left(text: str) -> None:
    span = prompts.code(text)
    assert span.count("`") == 2
    assert not any(ord(character) < 32 or character in "|\u202e\u2028\u200b" for character in span)


@given(st.text())
def test_plain_text_is_one_line_without_live_markup(text: str) -> None:
    shown = prompts.plain(text)
    assert len(shown.splitlines()) <= 1
    bare = shown.replace("\\\\", "")
    assert all(bare[at - 1] == "\\" for at, character in enumerate(bare) if character in "`*[]<>#|_")


def test_literals_in_fences_cannot_end_them() -> None:
    text = "a ```\n# not code"
    shown = prompts.literal([{"content": text}])
    assert "`" not in shown
    assert ast.literal_eval(shown) == [{"content": text}]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "1 s"), (45, "45 s"), (89, "89 s"), (150, "2 min"), (5400, "1 h 30 min"), (7500, "2 h 5 min")],
)
def test_seconds_for_people(seconds: float, text: str) -> None:
    assert prompts.show_seconds(seconds) == text


def test_the_runner_imports_neither_torch_nor_a_server() -> None:
    barred = ("torch", "transformers", "sqlmodel", "fastapi", "agent", "gateway", "local_platform")
    code = f"import sys, runner.main; print([name for name in {barred} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
