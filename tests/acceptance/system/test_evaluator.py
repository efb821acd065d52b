"""An evaluator through the real command line, servers and both sandboxes; on real data, its scores recomputed here."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import sklearn.metrics

from tests.fixtures.system import System

METRICS: Any = sklearn.metrics
DATA = Path(__file__).parents[4] / "shared" / "data"
REUSE = (
    "Now run SFT on ember-500k using the evaluator we just authored. Reuse outputs/evaluator.py and "
    "outputs/eval_spec.md \N{EM DASH} do not regenerate them."
)


def test_an_evaluator_is_written_shown_and_reused_in_the_same_session(system: System) -> None:
    session = system.create("Generate an evaluator for accounts/local/datasets/tickets.")
    printed = system.wait(session)
    assert printed.endswith("[done] session status: succeeded\n"), printed
    spec, source = (
        (system.workspace(session) / "outputs" / name).read_text() for name in ("eval_spec.md", "evaluator.py")
    )
    assert source.strip() in printed
    assert spec.strip() in printed
    assert system.get(session)["cost"]["soFar"] == "0.000000"
    waiting = system.answer(session, REUSE)
    assert "ask_user plan_approval" in waiting
    assert "Winner by" in waiting
    assert "evaluator score" in waiting
    assert (system.workspace(session) / "outputs" / "evaluator.py").read_text() == source
    assert system.answer(session, "No, cancel it.").endswith("[done] session status: cancelled\n")


NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")


def same_number(answer: str, truth: str) -> bool:
    """Read apart from the evaluator: what stands behind ####, else the last number."""
    after = answer.split("####")[-1] if "####" in answer else ""
    found = NUMBER.findall(after)[:1] or ([] if "####" in answer and after.strip() else NUMBER.findall(answer)[-1:])
    return bool(found) and float(found[0].replace(",", "")) == float(truth.replace(",", ""))


def field_score(answer: str, truth: str) -> float:
    """The F1 of flat JSON objects as sets of fields."""
    try:
        said = json.loads(answer)
    except ValueError:
        return 0.0
    if not isinstance(said, dict):
        return 0.0
    wanted = json.loads(truth)
    fields = sorted({*wanted.items(), *((k, str(v)) for k, v in said.items())})
    real, got = [f in wanted.items() for f in fields], [f in said.items() for f in fields]
    return float(METRICS.f1_score(real, got, zero_division=0))


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.skipif(not DATA.exists(), reason="the shared data sets are not beside the project")
@pytest.mark.parametrize("name", ["snips_slots_json", "gsm8k_sft"])
def test_real_data_is_scored_by_the_evaluator_written_for_it(system: System, name: str) -> None:
    identity = f"{name.replace('_', '-')}-scored"
    system.firectl("dataset", "create", identity, str(DATA / f"{name}.jsonl"))
    system.wait_calibrated("ember-1m")
    session = system.create(
        f"Generate an evaluator for accounts/local/datasets/{identity}, then run SFT on ember-1m and use that "
        "evaluator to pick the winning candidate. Use LoRA ranks 8 and 32 with learning rates 1e-4, train each "
        "candidate for 3 epochs, 300 samples for HP tuning. Skip the full-data final run."
    )
    assert "ask_user plan_approval" in system.wait(session)
    assert "ask_user promotion" in system.answer(session, "Approved, proceed.")
    last = system.answer(session, "Proceed with the winning config.")
    assert last.endswith("[done] session status: succeeded\n"), last[-3000:]
    rows = [
        json.loads(line)
        for line in (system.workspace(session) / "outputs" / "sweep_answers.jsonl").read_text().splitlines()
    ]
    board = (system.workspace(session) / "outputs" / "scoreboard.md").read_text()
    for label, heading in (("base1", "| ember-1m, not tuned |"), ("c1", "| c1: ember-1m"), ("c2", "| c2: ember-1m")):
        if name == "gsm8k_sft":
            truth = [same_number(row["reference"], row["reference"].split("####")[-1].strip()) for row in rows]
            said = [
                same_number(row["models"][label]["answer"], row["reference"].split("####")[-1].strip()) for row in rows
            ]
            expected = float(METRICS.accuracy_score(truth, said))
        else:
            scores = [field_score(row["models"][label]["answer"], row["reference"]) for row in rows]
            assert scores == pytest.approx([row["models"][label]["score"] for row in rows])
            expected = sum(scores) / len(scores)
        line = next(line for line in board.splitlines() if line.startswith(heading))
        assert line.split("|")[2].split()[0] == f"{expected * 100:.1f}", line
