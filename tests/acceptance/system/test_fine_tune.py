"""From a sentence to a deployed model, through the real command line, servers, sandbox and trainer."""

import json
import re
from typing import Any

import httpx
import numpy as np
import pytest
import scipy.stats
import sklearn.metrics

from tests.fixtures.system import System

METRICS: Any = sklearn.metrics

INSTRUCTION = (
    "Run SFT on ember-500k using accounts/local/datasets/tickets. Use validation loss for evaluation. Use LoRA ranks 8 "
    "and 16 with learning rates 1e-4, train each candidate for 1 epoch, use 60 samples for HP tuning."
)


@pytest.fixture(scope="module")
def finished(system: System) -> str:
    """A session that went through approval and promotion to its end."""
    system.wait_calibrated("ember-500k")
    session = system.create(INSTRUCTION)
    first = system.wait(session)
    assert first.endswith("[done] session status: waiting\n")
    assert "status_info: ask_user plan_approval" in first
    promotion = system.answer(session, "Approved, proceed.")
    assert "status_info: ask_user promotion" in promotion
    last = system.answer(session, "Proceed with the winning config.")
    assert last.endswith("[done] session status: succeeded\n"), last[-3000:]
    return session


def test_all_seven_phases_appear_in_order(system: System, finished: str) -> None:
    events = [json.loads(line) for line in system.firectl("session", "events", finished, "-o", "json").splitlines()]
    assert [int(event["seq"]) for event in events] == list(range(1, len(events) + 1))
    ends = [
        event["payload"]["phase"]
        for event in events
        if event["type"] == "phase" and event["payload"]["state"] != "started"
    ]
    assert list(dict.fromkeys(ends)) == ["inspect", "plan", "sweep", "train", "evaluate", "deploy", "report"]
    assert any(event["type"] == "job" and event["payload"]["state"] == "JOB_STATE_COMPLETED" for event in events)


def test_report_numbers_are_the_platforms(system: System, finished: str) -> None:
    report = (system.workspace(finished) / "final_report.md").read_text()
    jobs = json.loads(system.firectl("sftj", "list", "-o", "json"))
    final = next(job for job in jobs if job["name"].endswith(f"{finished}-final"))
    metrics = httpx.get(final["metricsFileSignedUrl"]).text
    losses = [json.loads(line)["evalLoss"] for line in metrics.splitlines() if "evalLoss" in line]
    assert f"{losses[0]:.3f}" in report, "validation loss of the base model"
    assert f"{min(losses):.3f}" in report, "validation loss of the tuned model"


def test_numbers_of_the_report_follow_from_the_rows(system: System, finished: str) -> None:
    """Losses, intervals and perplexity from the losses by row, exact match from the answers: by numpy and sklearn."""
    work = system.workspace(finished)
    report = (work / "final_report.md").read_text()
    models = [json.loads(line)["models"] for line in (work / "outputs/heldout_losses.jsonl").read_text().splitlines()]
    for label, row in (("c1", "| c1"), ("c2", "| c2"), ("final", "| validation loss (")):
        tokens, base, tuned = (np.array([one[label][name] for one in models]) for name in ("tokens", "base", "tuned"))
        line = next(line for line in report.splitlines() if line.startswith(row))
        for sums, form in ((tuned, "{:.3f} ({:.3f} to {:.3f})"), (tuned - base, "{:+.3f} ({:+.3f} to {:+.3f})")):
            mean = sums.sum() / tokens.sum()
            deviation = np.std((sums - mean * tokens) / tokens.mean(), ddof=1)
            half = scipy.stats.norm.ppf(0.975) * deviation / np.sqrt(len(tokens))
            assert form.format(mean, mean - half, mean + half) in line
    losses = [float(cell.split()[0]) for cell in line.split("|")[2:4]]
    shown = next(line for line in report.splitlines() if line.startswith("| perplexity")).split("|")[2:4]
    assert [float(cell.replace(",", "")) for cell in shown] == pytest.approx(np.exp(losses), rel=0.002)
    answers = [json.loads(line) for line in (work / "outputs/evaluation_answers.jsonl").read_text().splitlines()]
    cells = next(line for line in report.splitlines() if line.startswith("| exact match")).split("|")[2:5]
    truth = [" ".join(row["reference"].split()) for row in answers]
    shares: list[float] = []
    for model, cell in zip(("base", "tuned"), cells, strict=False):
        shares.append(float(METRICS.accuracy_score(truth, [" ".join(row[model].split()) for row in answers])))
        low, high = scipy.stats.binomtest(round(shares[-1] * len(truth)), len(truth)).proportion_ci(method="wilson")
        assert cell.strip() == f"{shares[-1] * 100:.1f} % ({low * 100:.1f} % to {high * 100:.1f} %)"
    assert cells[2].startswith(f" {(shares[1] - shares[0]) * 100:+.1f} points")


@pytest.mark.parametrize("index", [0, 1], ids=["fireworks", "openai"])
def test_snippets_of_the_report_run_as_printed(system: System, finished: str, index: int) -> None:
    report = (system.workspace(finished) / "final_report.md").read_text()
    snippets = re.findall(r"```python\n(.*?)```", report, re.DOTALL)
    assert ("from fireworks import" in snippets[0], "from openai import" in snippets[1]) == (True, True)
    (system.folder / f"snippet{index}.py").write_text(snippets[index])
    done = system.run(f"snippet{index}.py")
    assert (done.returncode, bool(done.stdout.strip())) == (0, True), done.stderr


def test_spend_stays_within_what_was_approved(system: System, finished: str) -> None:
    found = system.get(finished)
    assert float(found["plan"]["highUsd"]) > 0
    assert float(found["cost"]["soFar"]) + float(found["cost"]["reserved"]) <= float(found["plan"]["highUsd"])
    assert found["plan"]["approvedBy"]


def test_estimate_and_actual_are_on_record(system: System, finished: str) -> None:
    done = system.run("-m", "cli.operator", "estimates", "-o", "json")
    rows = json.loads(done.stdout)["estimates"]
    assert {"sweep", "train", "evaluate", "deploy", "total"} <= {
        row["phase"] for row in rows if row["session"].endswith(finished)
    }


def test_audit_chain_of_everything_holds(system: System, finished: str) -> None:
    done = system.run("-m", "cli.operator", "audit", "verify")
    assert done.returncode == 0, done.stdout + done.stderr


def test_revision_is_a_new_plan_and_rejection_is_free(system: System) -> None:
    session = system.create("Run SFT on ember-500k using accounts/local/datasets/tickets")
    system.wait(session)
    before = system.get(session)["plan"]
    system.answer(session, "Looks good, but skip HP tuning and train for 2 epochs")
    after = system.get(session)["plan"]
    assert before["planHash"] != after["planHash"]
    assert len(after["document"]["candidates"]) <= 1
    last = system.answer(session, "Reject")
    assert last.endswith("[done] session status: cancelled\n")
    assert last.count("skipped (rejected by the user)") == 5
    found = system.get(session)
    assert float(found["cost"]["soFar"]) == float(found["cost"]["approved"]) == 0
    assert session not in system.firectl("sftj", "list")


def test_missing_model_is_asked_for_with_a_recommendation(system: System) -> None:
    session = system.create("Run SFT on accounts/local/datasets/tickets")
    assert "ask_user missing_input" in system.wait(session)
    question = system.get(session)["question"]
    assert any(option["recommended"] for field in question["fields"] for option in field["options"])
    assert "ask_user plan_approval" in system.answer(session, "Use ember-500k.")
    system.answer(session, "reject")


def test_stale_plan_hash_is_refused(system: System) -> None:
    session = system.create("Run SFT on ember-500k using accounts/local/datasets/tickets")
    system.wait(session)
    question = system.get(session)["question"]
    done = system.run("-m", "cli.firectl", "session", "update", session, "--question", question["questionId"],
                      "--decision", "approve", "--plan-hash", "0" * 64)  # fmt: skip
    assert done.returncode == 1
    assert "409" in done.stderr
    assert system.get(session)["status"] == "waiting"
    system.answer(session, "reject")
