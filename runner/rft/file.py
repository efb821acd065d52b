"""The file: the evaluator of the session, and around it what makes it an evaluation of Eval Protocol."""

import re
from collections.abc import Sequence
from typing import Any

import prompts
from pilotlight.names import parse_name
from runner.evaluators.rows import Example

FILE = "test_evaluator.py"
PATH = f"outputs/{FILE}"
_SAMPLES, _LONGEST = 3, 2000
"""Rows that go into the file, and the most characters that one may have there."""
_SENT = ("role", "content")


def function_of(dataset: str) -> str:
    """The name of the test function: pytest finds it by its beginning."""
    return "test_" + re.sub(r"[^a-z0-9]+", "_", parse_name(dataset).id.lower()).strip("_")


def write(source: str, dataset: str, model: str, examples: Sequence[Example]) -> str:
    """The text of the file. `source` defines `evaluate(row, completion)`."""
    samples = [_sample(example) for example in examples if len(str(example.row)) <= _LONGEST][:_SAMPLES]
    return prompts.render(
        "rft_evaluation.py.j2",
        source=source.strip(),
        samples=_literal(samples or [_sample(examples[0])]),
        model=_literal(model),
        function=function_of(dataset),
    )


def _sample(example: Example) -> dict[str, Any]:
    messages = [{name: message[name] for name in _SENT if name in message} for message in example.row["messages"]]
    return {"messages": messages, "ground_truth": example.truth}


def _literal(value: Any) -> str:
    return ascii(value)
