"""Sessions that an earlier release left waiting, or in the middle of their work, go on in this one [DESIGN 4]."""

import json
import sqlite3
from pathlib import Path

import pytest

from pilotlight.errors import Aborted, FailedPrecondition
from pilotlight.question import Answer, Decision, QuestionKind
from runner.state import GRAPH_VERSION
from tests.fixtures.planner_control import DATASET, Control
from tests.fixtures.planner_desk import Desk, open_desk
from tests.golden.kept import RELEASES, describe_graph, unpack
from tests.golden.make import GATES

KEPT = sorted(RELEASES.iterdir())
SESSIONS = [pytest.param(folder, name, id=f"{folder.name}-{name}") for folder in KEPT for name in sorted(GATES)]
WAITING = [pytest.param(*case.values, id=case.id) for case in SESSIONS if case.values[1] != "work"]
BOUND = (QuestionKind.PLAN_APPROVAL, QuestionKind.PROMOTION, QuestionKind.SPEND_INCREASE)
WORDS = {"clarify": f"Use {DATASET} and ember-1m.", "trouble": "try again"}


def version_of(folder: Path) -> int:
    return int(json.loads((folder / "graph.json").read_text())["version"])


def go_on(desk: Desk, control: Control, words: str) -> None:
    for _ in range(5):
        if [name for name in control.questions if name not in control.answers]:
            control.reply(words if control.ask_open().kind not in BOUND else "ok")
        desk.run()
        if control.finished:
            return


@pytest.mark.parametrize(("folder", "name"), SESSIONS)
def test_it_goes_on_to_its_end_and_does_nothing_twice(folder: Path, name: str, tmp_path: Path) -> None:
    control = unpack(folder, name, tmp_path / "work")
    before = list(control.applied)
    done = {job for job, found in control.jobs.items() if found["state"] == "JOB_STATE_COMPLETED"}
    control.failing = set()
    with open_desk(control, tmp_path) as desk:
        if version_of(folder) != GRAPH_VERSION:
            with pytest.raises(FailedPrecondition, match="Finish it with the release that started it"):
                desk.run()
            return
        looks = {job: control.jobs[job]["looks"] for job in done}
        go_on(desk, control, WORDS.get(name, "ok"))
    assert control.finished
    assert control.finished["status"] == "succeeded"
    assert control.applied[: len(before)] == before
    assert len(control.applied) == len(set(control.applied))
    assert {job: control.jobs[job]["looks"] for job in done} == looks  # what was finished is not even looked at


@pytest.mark.parametrize(("folder", "name"), WAITING)
def test_an_answer_to_something_else_moves_nothing(folder: Path, name: str, tmp_path: Path) -> None:
    if version_of(folder) != GRAPH_VERSION:
        return
    control = unpack(folder, name, tmp_path / "work")
    question, before = control.ask_open(), (list(control.applied), list(control.plans))
    control.answers["q99-plan"] = Answer(question_id="q99-plan", text="ok", decision=Decision.APPROVE)
    with open_desk(control, tmp_path) as desk:
        desk.run()
        assert [name for name in control.questions if name not in control.answers] == [question.question_id]
        if question.kind in BOUND:
            stale = Answer(question_id=question.question_id, text="ok", decision=Decision.APPROVE, plan_hash="0" * 64)
            control.answers[question.question_id] = stale
            with pytest.raises(Aborted, match="no longer the current one"):
                desk.run()
    assert (control.applied, list(control.plans)) == before
    assert control.finished is None


@pytest.mark.parametrize("folder", KEPT, ids=lambda folder: folder.name)
def test_what_waiting_sessions_depend_on_is_still_there(folder: Path) -> None:
    """Renamed nodes and lost state keys end waiting sessions wrongly; new ones are fine. See runner.state."""
    kept, now = json.loads((folder / "graph.json").read_text()), describe_graph()
    if kept["version"] != now["version"]:
        assert kept["version"] < now["version"]
        return
    assert set(kept["nodes"]) <= set(now["nodes"])
    assert kept["state"].items() <= now["state"].items()
    assert kept["pending"].items() <= now["pending"].items()


@pytest.mark.parametrize(("folder", "name"), WAITING)
def test_each_session_was_kept_at_its_gate(folder: Path, name: str, tmp_path: Path) -> None:
    """So that the tests above test what they say, also for whoever makes new ones."""
    control = unpack(folder, name, tmp_path / "work")
    assert f"-{'input' if name == 'clarify' else name}" in control.ask_open().question_id
    with sqlite3.connect(tmp_path / "work" / "state" / "graph.db") as db:
        assert db.execute("SELECT count(*) FROM checkpoints").fetchone()[0] > 0
    db.close()
