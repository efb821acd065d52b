"""The gate: what is wrong with an evaluator is found by running it, in a real sandbox."""

import pytest

from runner.evaluators import gate, trials
from runner.evaluators.rows import Example
from runner.evaluators.scores import Case, EvaluatorUnfit, score
from runner.turn import Turn
from tests.fixtures.planner_control import Control

ROWS = [
    Example({"messages": [{"role": "user", "content": f"{n} + {n}?"}], "ground_truth": str(n + n)}, f"It is {n + n}.")
    for n in range(10, 22)
]
RIGHT = """import re
def evaluate(row, completion):
    return float(row["ground_truth"] in re.findall(r"[0-9]+", completion))
"""
FLAWS = {
    "constant": ("def evaluate(row, completion):\n    return 0.5\n", "everything alike"),
    "too kind": ("def evaluate(row, completion):\n    return 1.0 if completion else 0.0\n", "another row scores 1.00"),
    "blind to the truth": (
        "def evaluate(row, completion):\n    return float(completion.startswith('It is'))\n",
        "Right answer to another row scores 1.00|right answer to another row scores 1.00",
    ),
    "by chance": (
        "import random\ndef evaluate(row, completion):\n    return random.random()\n",
        "does not always have the same score",
    ),
    "remembers": (
        f"{RIGHT}right, seen = evaluate, []\ndef judge(row, completion):\n    seen.append(completion)\n"
        "    return right(row, completion) * (len(seen) < 20)\nevaluate = judge\n",
        "does not always have the same score",
    ),
    "fails": (
        "def evaluate(row, completion):\n    return float(int(completion) == int(row['ground_truth']))\n",
        "fails on 12 right answers, first with: ValueError",
    ),
    "a truth value": (RIGHT.replace("float(", "bool("), "returned bool instead of a number"),
    "harsh": (f"{RIGHT.rstrip()} * 0.6\n", "Right answers score 0.60"),
    "out of range": ("def evaluate(row, completion):\n    return 100 if completion else 0\n", "not between 0 and 1"),
    "slow": (
        f"{RIGHT}right = evaluate\ndef judge(row, completion):\n\n"
        "    sum(range(20_000_000)) if row['ground_truth'] + completion == '20' else 0\n"
        "    return right(row, completion)\nevaluate = judge\n",
        "of processor time",
    ),
}


@pytest.mark.parametrize("flaw", FLAWS)
def test_a_flaw_is_found(turn: Turn, control: Control, flaw: str) -> None:
    control.confined = False
    source, words = FLAWS[flaw]
    report = gate.check(turn, source, ROWS, compares=True)
    assert any(word in " ".join(report.problems) for word in words.split("|")), report


def test_one_that_is_right_passes_and_what_it_cannot_read_scores_nothing(turn: Turn) -> None:
    report = gate.check(turn, RIGHT, ROWS, compares=True)
    assert report.problems == []
    assert report.odd_errors == 1  # the row without its right answer
    assert {line.kind: line.mean for line in report.lines}["truth"] == 1.0


def test_each_row_counts_for_itself(turn: Turn, control: Control) -> None:
    control.row_seconds = 0.2
    source = (
        "import sys, time\ndef evaluate(row, completion):\n    if completion == 'exit': sys.exit(0)\n"
        "    if completion == 'wait':\n        try: time.sleep(30)\n        except Exception: return 1\n"
        "    if completion == 'nan': return float('nan')\n    if completion == 'no score': return {}\n"
        "    return {'score': 0.25, 'why': 'x'}\n"
    )
    words = ("exit", "fine", "wait", "nan", "no score", "fine")
    scores = score(turn, source, [Case({}, word) for word in words])
    assert [one.value for one in scores] == [0.0, 0.25, 0.0, 0.0, 0.0, 0.25]
    assert [bool(one.error) for one in scores] == [True, False, True, True, True, False]
    assert "0.2 seconds" in scores[2].error


@pytest.mark.parametrize(
    "source",
    [
        "def evaluate(row):\n    return 1.0\n",
        "evaluate = lambda row, completion: 1.0\n",
        "def evaluate(row, completion:\n",
        "x = 1\n",
        "def evaluate(row, completion):\n    return 1.0\n" + "#" * gate.LONGEST_SOURCE,
        "\x00",
    ],
)
def test_source_is_only_read_before_it_may_run(source: str) -> None:
    assert gate.find_fault(source)


def test_the_gate_reads_before_it_runs(turn: Turn, control: Control) -> None:
    report = gate.check(turn, "evaluate = 1\n", ROWS, compares=True)
    assert report.problems == ["It must define one function evaluate(row, completion)."]
    assert control.evaluated == []


def test_code_that_cannot_be_run_is_unfit(turn: Turn) -> None:
    with pytest.raises(EvaluatorUnfit, match="ZeroDivisionError"):
        score(turn, "1 / 0\n", [Case({}, "x")])


@pytest.mark.parametrize("answer", ["72 apples", '{"a": [1, true, "x"]}', "yes indeed", "ok"])
def test_damage_changes_an_answer(answer: str) -> None:
    assert trials.damage(answer) != answer
