"""Preference learning through the real command line, servers, sandbox and trainer; its numbers recomputed elsewhere."""

import json
import statistics
from pathlib import Path
from typing import Any

import pytest
import sklearn.metrics

from tests.fixtures.system import System

METRICS: Any = sklearn.metrics
DATA = Path(__file__).parents[4] / "shared" / "data"
INSTRUCTION = (
    "Run ORPO on accounts/local/datasets/replies using ember-500k. Skip HP tuning. Train for 2 epochs. "
    "Target: accuracy above 95%."
)


@pytest.fixture(scope="module")
def finished(system: System) -> str:
    """A session with one setting, from its instruction to its end."""
    make = ("-m", "local_platform.basemodels.demo_pairs", "--rows", "80", "--seed", "11", "--output", "replies.jsonl")
    assert system.run(*make).returncode == 0
    system.firectl("dataset", "create", "replies", "replies.jsonl")
    return run(system, INSTRUCTION, "ember-500k")


def run(system: System, instruction: str, base: str) -> str:
    """A session from its instruction to its end, deployed."""
    system.wait_calibrated(base)
    session = system.create(instruction)
    assert "ask_user plan_approval" in system.wait(session)
    assert "ask_user comparison" in system.answer(session, "Approved, proceed.")
    last = system.answer(session, "Deploy it.")
    assert last.endswith("[done] session status: succeeded\n"), last[-3000:]
    return session


def workspace(system: System, session: str) -> Path:
    return system.instance.home / "sessions" / session / "work"


def pairs_of(system: System, session: str) -> list[dict[str, Any]]:
    text = (workspace(system, session) / "outputs" / "preference_pairs.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def prefers(row: dict[str, Any], model: str) -> bool:
    """Whether the model finds the preferred answer the more likely one, per token."""
    known = row["models"][model]["likelihood"]
    return known["preferred"] / known["preferred_tokens"] > known["other"] / known["other_tokens"]


def test_numbers_of_the_report_follow_from_the_pairs(system: System, finished: str) -> None:
    rows = pairs_of(system, finished)
    report = (workspace(system, finished) / "final_report.md").read_text()
    for model, name in (("bench1", "ember-500k, not tuned"), ("final", "the final model")):
        cells = next(line for line in report.splitlines() if line.startswith(f"| {name} |")).split("|")
        accuracy = METRICS.accuracy_score([True] * len(rows), [prefers(row, model) for row in rows])
        assert cells[2].split()[0] == f"{accuracy * 100:.1f}"
    margins = [
        row["models"]["final"]["likelihood"][f"{side}"] - row["models"]["bench1"]["likelihood"][f"{side}"]
        for row in rows
        for side in ("preferred", "other")
    ]
    margin = statistics.fmean(a - b for a, b in zip(margins[::2], margins[1::2], strict=True))
    assert f"| {margin:+.2f} (" in report
    assert margin > 0
    right = sum(prefers(row, "final") for row in rows) / len(rows)
    assert f"(accuracy above 95.0 %): **{'met' if right > 0.95 else 'not met'}**" in report
    assert f"accounts/local/deployments/ft-{finished}-deploy" in report


def test_likelihoods_are_those_of_the_trainer(system: System, finished: str) -> None:
    """The platform's own measures of the same pairs under the same adapter, from another implementation."""
    job = json.loads(system.firectl("dpoj", "get", f"ft-{finished}-final", "-o", "json"))
    rows, measures = pairs_of(system, finished), job["localProgress"]["measures"]["base"]
    for side, name in (("preferred", "logpsChosen"), ("other", "logpsRejected")):
        mean = statistics.fmean(row["models"]["bench1"]["likelihood"][side] for row in rows)
        assert mean == pytest.approx(measures[name], rel=2e-3)


def test_spend_stays_within_what_was_approved(system: System, finished: str) -> None:
    found = system.get(finished)
    assert 0 < float(found["cost"]["soFar"]) + float(found["cost"]["reserved"]) <= float(found["plan"]["highUsd"])


@pytest.mark.slow
@pytest.mark.skipif(not DATA.exists(), reason="the shared data sets are not beside the project")
@pytest.mark.parametrize(("method", "rate"), [("DPO", "1e-4"), ("ORPO", "1e-4")])
def test_real_data_moves_the_right_way(system: System, method: str, rate: str) -> None:
    """Correct and wrong solutions of sums: which is which is beyond such small models, but not to be moved at all."""
    if method == "DPO":
        system.firectl("dataset", "create", "gsm8k-pairs", str(DATA / "gsm8k_preferences.jsonl"))
    settings = f"using ember-1m. Skip HP tuning. Train for 1 epoch with learning rate {rate}."
    session = run(system, f"Run {method} on accounts/local/datasets/gsm8k-pairs {settings}", "ember-1m")
    rows = pairs_of(system, session)
    known = [row["models"] for row in rows if row["models"]["final"]["likelihood"]]
    assert len(known) > 100
    moved = [
        (m["final"]["likelihood"]["preferred"] - m["bench1"]["likelihood"]["preferred"])
        - (m["final"]["likelihood"]["other"] - m["bench1"]["likelihood"]["other"])
        for m in known
    ]
    report = (workspace(system, session) / "final_report.md").read_text()
    assert f"{statistics.fmean(moved):+.2f} (" in report
