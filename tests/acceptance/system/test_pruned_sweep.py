"""Successive halving with real trainers: weak candidates are cancelled on the way; their approval ends with them."""

import json
import re
from decimal import Decimal

import pytest

from tests.fixtures.system import System

INSTRUCTION = (
    "Run SFT on ember-500k using accounts/local/datasets/tickets. Use validation loss for evaluation. Use LoRA ranks 8 "
    "and 16 with learning rates 1e-5 and 5e-4. Train each candidate for 6 epochs. Prune weak candidates."
)


@pytest.mark.slow
def test_a_candidate_that_learns_nothing_is_stopped_and_its_approval_ends(system: System) -> None:
    system.wait_calibrated("ember-500k")
    session = system.create(INSTRUCTION)
    assert "ask_user plan_approval" in system.wait(session)
    approved = Decimal(system.get(session)["plan"]["highUsd"])
    promotion = system.answer(session, "Approved, proceed.")
    assert "status_info: ask_user promotion" in promotion, promotion[-3000:]
    assert "Successive halving stopped" in promotion
    jobs = {
        job["name"].rsplit("-", 1)[-1]: job
        for job in json.loads(system.firectl("sftj", "list", "-o", "json"))
        if session in job["name"]
    }
    stopped = {label for label, job in jobs.items() if job["state"] == "JOB_STATE_CANCELLED"}
    slow = {label for label, job in jobs.items() if float(job["learningRate"]) < 1e-4}
    assert slow <= stopped < set(jobs)
    lines = {line["grant"]: line for line in system.get(session)["cost"]["lines"]}
    for label in stopped:
        assert jobs[label]["localProgress"]["step"] < jobs[label]["localProgress"]["totalSteps"]
        assert Decimal(lines[label]["actual"]) < Decimal(lines[label]["high"])
    money = re.findall(r"of training and \$([\d.]+)", promotion)
    assert money
    system.answer(session, "stop")
    assert Decimal(system.get(session)["cost"]["soFar"]) < approved
