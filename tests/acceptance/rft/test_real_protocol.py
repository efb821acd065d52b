"""The generated file under the real Eval Protocol, in the evaluator sandbox. Needs a package index, so it is slow."""

import ast
import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from pilotlight.environments import build_environment
from pilotlight.requirements import PROTOCOL_PACKAGES
from runner.evaluators.draft import write_from_library
from runner.evaluators.kinds import choose_kind
from runner.evaluators.rows import Example
from runner.rft.file import FILE, function_of, write
from runner.sandbox.evaluator import EvaluatorCall, run_evaluator
from runner.sandbox.harness import as_source
from runner.sandbox.spec import EvaluatorLimits

DATASET = "accounts/local/datasets/math-problems"
WISH = "Score whether the final numeric answer matches ground truth."
MESSAGES = [{"role": "user", "content": "What is 40 + 2?"}]


def write_file() -> str:
    examples = [Example({"messages": MESSAGES, "ground_truth": str(n)}, f"The answer is {n}.") for n in (42, 7, 9)]
    draft = write_from_library(choose_kind(WISH, [example.truth for example in examples]), DATASET, WISH)
    return write(draft.source, DATASET, "accounts/fireworks/models/qwen3-8b", examples)


def test_the_file_is_one_evaluation_test() -> None:
    tree = ast.parse(write_file())
    (function,) = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.decorator_list]
    assert function.name == function_of(DATASET) == "test_math_problems"
    (decorator,) = function.decorator_list
    assert ast.unparse(decorator).startswith("evaluation_test(input_rows=[[EvaluationRow(**sample)")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_eval_protocol_runs_it(tmp_path: Path) -> None:
    home = Path(os.environ.get("PILOTLIGHT_TEST_ENVIRONMENTS", str(tmp_path)))
    packages = build_environment(PROTOCOL_PACKAGES, home, 1200).packages
    source = as_source({FILE: write_file()}, f"{FILE}::{function_of(DATASET)}")
    row: dict[str, Any] = {"messages": MESSAGES, "ground_truth": "42"}
    rows: list[Any] = [[row, "I add them. The answer is 42."], [row, "41"], [row, ""]]
    call = EvaluatorCall(source=source, input=rows, row_seconds=5.0)
    uid = 269_000 if os.getuid() == 0 else None
    done = asyncio.run(run_evaluator(call, EvaluatorLimits(wall_seconds=300), uid, packages))
    assert [result.get("error", "") for result in done.value] == ["", "", ""]
    assert [result["value"]["score"] for result in done.value] == [1.0, 0.0, 0.0]
