"""A whole instance is backed up while it serves, and goes on elsewhere: jobs, models, sessions and money."""

import json

import pytest

from cli.up import Instance, free_port
from tests.acceptance.system.test_fine_tune import INSTRUCTION
from tests.fixtures.system import System

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def test_a_session_that_waits_for_its_promotion_is_finished_in_a_restored_instance(system: System) -> None:
    system.wait_calibrated("ember-500k")
    session = system.create(INSTRUCTION)
    system.wait(session)
    system.answer(session, "Approved, proceed.")
    before, trained = system.get(session), json.loads(system.firectl("sftj", "list", "-o", "json"))
    assert before["status"] == "waiting"
    made = system.run("-m", "cli.operator", "backup", str(system.folder / "backup"))
    assert made.returncode == 0, made.stderr
    home = system.folder / "elsewhere"
    there = system.environment | {"PILOTLIGHT_HOME": str(home)}
    restored = system.run("-m", "cli.operator", "restore", str(system.folder / "backup"), environment=there)
    assert restored.returncode == 0, restored.stderr
    with Instance(home, free_port(), free_port()) as instance:
        again = System(instance, system.folder)
        assert [job["name"] for job in json.loads(again.firectl("sftj", "list", "-o", "json"))] == [
            job["name"] for job in trained
        ]
        assert again.get(session)["cost"]["soFar"] == before["cost"]["soFar"]
        last = again.answer(session, "Proceed with the winning config.")
        assert last.endswith("[done] session status: succeeded\n"), last[-3000:]
        assert again.run("-m", "cli.operator", "audit", "verify").returncode == 0
    assert system.get(session)["status"] == "waiting", "what happens there does not happen here"
