"""A classification through the real command line, servers, sandbox and trainer; its numbers recomputed elsewhere."""

import json
import re
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import scipy.stats
import sklearn.metrics

from tests.fixtures.system import System

METRICS: Any = sklearn.metrics
DATA = Path(__file__).parents[4] / "shared" / "data"
LABELS = ["login", "praise", "warranty"]
INSTRUCTION = (
    "Run classification fine-tuning on accounts/local/datasets/intents using ember-500k. "
    f"Labels are: {', '.join(LABELS)}. Skip HP tuning."
)


@pytest.fixture(scope="module")
def finished(system: System) -> str:
    """A session with one setting, from its instruction to its end."""
    system.make_dataset("intents", "demo_data", rows=240, seed=11)
    system.wait_calibrated("ember-500k")
    session = system.create(INSTRUCTION)
    assert "ask_user plan_approval" in system.wait(session)
    last = system.answer(session, "Approved, proceed.")
    assert last.endswith("[done] session status: succeeded\n"), last[-3000:]
    return session


def answers(system: System, session: str) -> list[dict[str, Any]]:
    return system.read_lines(session, "outputs/evaluation_answers.jsonl")


def test_tuned_model_beats_the_base_model(system: System, finished: str) -> None:
    rows = answers(system, finished)
    right = {
        model: sum(row["models"][model]["choice"] == row["labels"] for row in rows) for model in ("bench1", "final")
    }
    assert right["final"] > right["bench1"], right
    report = (system.workspace(finished) / "final_report.md").read_text()
    assert f"accounts/local/deployments/ft-{finished}-deploy" in report


@pytest.mark.parametrize("way", ["choice", "free"])
@pytest.mark.parametrize("model", ["bench1", "final"])
def test_numbers_of_the_report_follow_from_the_answers(system: System, finished: str, model: str, way: str) -> None:
    rows = answers(system, finished)
    truth = [row["labels"][0] for row in rows]
    said = [(row["models"][model][way] or ["-"])[0] for row in rows]
    name = {"bench1": "ember-500k, not tuned", "final": "the final model"}[model]
    report = (system.workspace(finished) / "final_report.md").read_text()
    cells = next(line for line in report.splitlines() if line.startswith(f"| {name} |")).split("|")
    accuracy, macro = (cells[2], cells[3]) if way == "choice" else (cells[4], cells[5])
    right = METRICS.accuracy_score(truth, said, normalize=False)
    bounds = scipy.stats.binomtest(int(right), len(truth)).proportion_ci(method="wilson")
    assert accuracy.strip() == f"{right / len(truth) * 100:.1f} % ({bounds.low * 100:.1f} to {bounds.high * 100:.1f})"
    expected = METRICS.f1_score(truth, said, labels=LABELS, average="macro", zero_division=0)
    assert macro.split()[0] == f"{expected * 100:.1f}"
    if way == "choice":
        table = report.split(f"**Per label, {name}**")[1].split("\n\n")[1]
        scores = METRICS.precision_recall_fscore_support(truth, said, labels=LABELS, zero_division=0)
        for label, precision, recall, f1, rows_of in zip(LABELS, *scores, strict=True):
            line = next(line for line in table.splitlines() if line.startswith(f"| `{label}` |"))
            shown = [cell.split()[0] for cell in line.split("|")[2:6]]
            assert shown == [str(rows_of), *(f"{value * 100:.1f}" for value in (recall, precision, f1))]
    drawn = np.random.default_rng(3).integers(0, len(truth), (1000, len(truth)))
    pairs = np.array(list(zip(truth, said, strict=True)))
    macros = [METRICS.f1_score(*pairs[d].T, labels=LABELS, average="macro", zero_division=0) for d in drawn]
    shown = [float(number) / 100 for number in re.findall(r"[\d.]+", macro)]
    assert shown[1:] == pytest.approx(list(np.quantile(macros, [0.025, 0.975])), abs=0.04)


@pytest.mark.parametrize("way", ["choice", "free"])
def test_confusion_matrix_follows_from_the_answers(system: System, finished: str, way: str) -> None:
    rows = answers(system, finished)
    truth = [row["labels"][0] for row in rows]
    said = [(row["models"]["final"][way] or ["-"])[0] for row in rows]
    text = (system.workspace(finished) / "outputs" / "confusion.md").read_text()
    table = text.split(f"**the final model, {'by choice' if way == 'choice' else 'free'}**")[1].split("\n\n")[1]
    shown = [[int(cell) for cell in line.split("|")[2:-1]] for line in table.splitlines()[2:]]
    assert shown == METRICS.confusion_matrix(truth, said, labels=[*LABELS, "-"])[:-1].tolist()


def test_gain_follows_from_the_answers(system: System, finished: str) -> None:
    rows = answers(system, finished)
    hits = [[row["models"][model]["choice"] == row["labels"] for row in rows] for model in ("bench1", "final")]
    gains = np.array(hits[1], dtype=float) - np.array(hits[0], dtype=float)
    drawn = np.random.default_rng(3).choice(gains, (4000, len(gains))).mean(axis=1)
    expected = [gains.mean(), *np.quantile(drawn, [0.025, 0.975])]
    report = (system.workspace(finished) / "final_report.md").read_text()
    line = next(line for line in report.splitlines() if line.startswith("Tuned against base model"))
    shown = [float(number) / 100 for number in re.findall(r"[-+][\d.]+", line.split("points freely")[0])[:3]]
    assert shown == pytest.approx(expected, abs=1.1 / len(gains))  # two bootstraps may differ by one row
    assert shown[0] == pytest.approx(expected[0], abs=0.0006)


def test_choice_is_the_most_likely_text(system: System, finished: str) -> None:
    """Scored anew from the prompt as text, which another part of the platform turns into tokens."""
    model = f"accounts/local/deployments/ft-{finished}-bench1"
    key = {"Authorization": f"Bearer {system.environment['FIREWORKS_API_KEY']}"}
    with httpx.Client(base_url=f"{system.instance.url}/inference/v1", headers=key, timeout=120) as client:
        for row in answers(system, finished)[:5]:
            asked = {"model": model, "messages": row["messages"], "max_tokens": 1, "raw_output": True}
            (prompt,) = post(client, "chat/completions", asked)["raw_output"]["prompt_fragments"]
            sums: dict[str, float] = {}
            for label in LABELS:
                text = f"{prompt}{label}<|im_end|>"
                whole, start = (
                    post(
                        client,
                        "completions",
                        {"model": model, "prompt": p, "echo": True, "max_tokens": 0, "logprobs": 0},
                    )
                    for p in (text, prompt)
                )
                known = [list(filter(None, one["logprobs"]["token_logprobs"])) for one in (whole, start)]
                sums[label] = sum(known[0]) - sum(known[1])
            assert [max(sums, key=lambda label: sums[label])] == row["models"]["bench1"]["choice"]


def post(client: httpx.Client, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """The one choice of the answer, once the deployment is awake."""
    for _ in range(60):
        response = client.post(path, json=body)
        if response.status_code == 200:
            return response.json()["choices"][0]
        assert response.status_code == 503, response.text
        time.sleep(1)
    pytest.fail("the deployment did not wake up")


def test_snippet_predicts_a_label(system: System, finished: str) -> None:
    report = (system.workspace(finished) / "final_report.md").read_text()
    (system.folder / "predict.py").write_text(re.findall(r"```python\n(.*?)```", report, re.DOTALL)[0])
    done = system.run("predict.py")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.replace("'", '"'))[0] in LABELS


def test_spend_stays_within_what_was_approved(system: System, finished: str) -> None:
    found = system.get(finished)
    assert 0 < float(found["cost"]["soFar"]) + float(found["cost"]["reserved"]) <= float(found["plan"]["highUsd"])


def settle(system: System, session: str) -> dict[str, Any]:
    """The session at its next rest, which may take longer than one command of the tests."""
    while (found := system.get(session))["status"] in ("pending", "running"):
        time.sleep(5)
    return found


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.skipif(not DATA.exists(), reason="the shared data sets are not beside the project")
@pytest.mark.parametrize("name", ["banking12", "snips_intents"])
def test_real_data_is_learned(system: System, name: str) -> None:
    files = {"intents-real": DATA / f"{name}.jsonl"}
    if name == "banking12":
        files = {"banking": DATA / "banking12_train.jsonl", "banking-test": DATA / "banking12_test.jsonl"}
    for identity, file in files.items():
        system.firectl("dataset", "create", identity, str(file))
    system.wait_calibrated("ember-1m")
    sides = ", eval on ".join(f"accounts/local/datasets/{identity}" for identity in files)
    settings = "using ember-1m. Skip HP tuning. Train for 5 epochs."
    session = system.create(f"Run classification fine-tuning on {sides}, {settings}")
    while (found := settle(system, session))["status"] == "waiting":
        # first for the plan; on a crowded machine also where a job outlasts its estimate
        assert found["question"]["kind"] in ("plan_approval", "spend_increase"), found["question"]
        system.firectl("session", "update", session, "-n", "Approved, proceed.")
    assert found["status"] == "succeeded", found
    rows = answers(system, session)
    right = {
        model: sum(row["models"][model]["choice"] == row["labels"] for row in rows) for model in ("bench1", "final")
    }
    assert right["final"] > 1.5 * right["bench1"], right
