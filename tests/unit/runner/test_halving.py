"""Successive halving: the rule, its price, and a sweep that it cuts short."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotlight.plan import Phase
from pilotlight.question import QuestionKind
from runner.scoring.halving import expected_share, find_weaker, list_rungs

SAY = " Train each candidate for 3 epochs. Prune weak candidates."
COURSES = {"c1": [2.0, 1.9, 1.8], "c2": [1.0, 0.6, 0.4], "c3": [1.5, 1.2, 1.1]}


@pytest.mark.parametrize(("epochs", "rungs"), [(1, []), (2, [1]), (2.5, [1, 2]), (5, [1, 2, 4]), (8, [1, 2, 4])])
def test_rungs_come_before_the_end(epochs: float, rungs: list[int]) -> None:
    assert list_rungs(epochs) == rungs


@pytest.mark.parametrize(
    ("reached", "stopped"),
    [
        ({"a": {1: 2.0}}, set[str]()),
        ({"a": {1: 2.0}, "b": {1: 1.0}}, {"a"}),
        ({"a": {1: 2.0}, "b": {1: 1.0}, "c": {1: 1.5}}, {"a"}),
        ({"a": {1: 2.0}, "b": {1: 1.0}, "c": {1: 1.5}, "d": {1: 3.0}}, {"a", "d"}),
        ({"a": {1: 1.005}, "b": {1: 1.0}}, set[str]()),  # within 1 %: not told apart
        ({"a": {1: 2.0, 2: 1.5}, "b": {1: 1.0}}, set[str]()),  # it has gone on: its next rung judges it
        ({"a": {1: 2.0, 2: 1.5}, "b": {1: 1.0, 2: 0.5}}, {"a"}),
        ({"a": {3: 9.0}, "b": {3: 1.0}}, set[str]()),  # no rung
    ],
)
def test_the_weaker_half_at_its_highest_rung_is_stopped(
    reached: dict[str, dict[float, float]], stopped: set[str]
) -> None:
    weaker = find_weaker(reached, 5)
    assert set(weaker) == stopped
    assert all(weak.best == "b" and weak.loss > weak.best_loss for weak in weaker.values())


@given(st.dictionaries(st.text(max_size=2), st.lists(st.floats(0.1, 9), min_size=1, max_size=5), min_size=1))
def test_the_best_of_the_highest_rung_always_goes_on(courses: dict[str, list[float]]) -> None:
    reached = {label: {float(epoch): loss for epoch, loss in enumerate(losses, 1)} for label, losses in courses.items()}
    highest = max(rung for rung in list_rungs(5) if any(rung in losses for losses in reached.values()))
    there = {label: losses[highest] for label, losses in reached.items() if highest in losses}
    assert min(there, key=lambda label: there[label]) not in find_weaker(reached, 5)


@pytest.mark.parametrize(
    ("candidates", "epochs", "epochs_left"), [(3, 5, 3 + 2 + 1 + 1 + 1), (4, 3, 4 + 2 + 1), (2, 1, 2), (1, 5, 5)]
)
def test_expected_share(candidates: int, epochs: float, epochs_left: int) -> None:
    assert expected_share(candidates, epochs) == pytest.approx(epochs_left / (candidates * epochs))


def sweep(desk: Any, control: Any) -> str:
    """Run to the promotion; its scoreboard."""
    control.courses = dict(COURSES)
    control.instructions[0] += SAY
    desk.run()
    control.reply("Approved, proceed.")
    desk.run()
    return control.ask_open().text


def test_a_weak_candidate_is_stopped_and_the_scoreboard_says_what_that_saved(desk: Any, control: Any) -> None:
    board = sweep(desk, control)
    assert control.stopped == {"c1", "c3"}
    assert {job["state"] for name, job in control.jobs.items() if not name.endswith("c2")} == {"JOB_STATE_CANCELLED"}
    assert "| c1 | " in board
    assert "stopped: after 1 of 3 epochs its validation loss is 2.000, that of c2 was 1.000 there" in board
    kept = json.loads((desk.work / "state/results/1-halving.json").read_text())
    seconds = sum(item["savedSeconds"] for item in kept.values())
    money = sum(Decimal(item["savedUsd"]) for item in kept.values())
    assert money == pytest.approx(Decimal("0.20") * Decimal(seconds) / 3600, abs=Decimal("0.000002"))
    assert f"saved about {round(seconds / 60)} min of training and ${money:.4f}" in board
    ends = [event for event in control.of("phase") if event["phase"] == "sweep" and event["state"] == "completed"]
    assert [event["summary"] for event in ends] == ["1 of 3 candidates finished, 2 stopped by successive halving"]
    control.reply("Proceed with the winning config.")
    desk.run()
    assert control.finished["status"] == "succeeded"
    report = (desk.work / "final_report.md").read_text()
    assert f"saved about {round(seconds / 60)} min of training" in report


def test_without_the_word_every_candidate_is_trained(desk: Any, control: Any) -> None:
    control.courses = dict(COURSES)
    control.instructions[0] += " Train each candidate for 3 epochs."
    desk.run()
    plan = next(iter(control.plans.values()))
    offer = next(offer for offer in plan.offers if offer.words == "prune weak candidates")
    assert offer.expected < plan.cost.total() <= plan.cost.total("high") == offer.high
    control.reply("Approved, proceed.")
    desk.run()
    assert control.stopped == set()
    assert "stopped" not in control.ask_open().text


def test_its_plan_expects_less_and_allows_the_same(desk: Any, control: Any) -> None:
    desk.run()
    control.reply(decision="revise", text=SAY, epochs=3.0, prune=True)
    desk.run()
    control.reply(decision="revise", text="No pruning", prune=False)
    desk.run()
    _, pruned, whole = control.plans.values()
    lines = [next(line for line in plan.cost.lines if line.phase is Phase.SWEEP) for plan in (pruned, whole)]
    assert lines[0].expected < lines[1].expected
    assert lines[0].high == lines[1].high
    said = {value.name: value.value for value in pruned.values}
    assert said["prune"] == "the weaker half is stopped after 1, 2 epochs"


def test_a_runner_killed_between_decision_and_stop_stops_it_again(zygote: Any, control: Any) -> None:
    control.courses = dict(COURSES)
    control.instructions[0] += SAY
    assert zygote.run() == 0
    control.reply("Approved, proceed.")
    control.kill_at_stop = True
    assert zygote.run() != 0
    assert control.stopped == set()
    assert zygote.run() == 0
    assert "c1" in control.stopped
    assert "c2" not in control.stopped
    assert "stopped: after 1 of 3 epochs" in control.ask_open().text
    assert len(control.jobs) == 3


def test_what_was_stopped_is_not_trained_again_after_an_increase(desk: Any, control: Any) -> None:
    control.limited = {"c2": 2}
    sweep(desk, control)
    assert control.ask_open().kind is QuestionKind.SPEND_INCREASE
    plan = list(control.plans.values())[-1]
    assert {grant.id for grant in plan.grants if grant.phase is Phase.SWEEP} == {"c2-r2"}
    control.courses["c2-r2"] = COURSES["c2"]
    control.reply("Approved, proceed.")
    desk.run()
    board = control.ask_open().text
    assert "c2 **(winner)**" in board
    assert "Successive halving stopped" in board
    assert sorted(name.split("41e1-")[1] for name in control.jobs) == ["c1", "c2", "c2-r2", "c3"]


def test_many_weak_candidates_in_a_row_are_no_failure(desk: Any, control: Any) -> None:
    control.courses = {f"c{n}": [float(n), n - 0.1, n - 0.2] for n in range(1, 10)}
    control.instructions[0] += f"{SAY} Use the full grid."
    desk.run()
    control.reply("Approved, proceed.")
    desk.run()
    assert control.stopped >= {"c4", "c5", "c6"}  # of the first six, in one look
    assert "c1" not in control.stopped
    assert "c1 **(winner)**" in control.ask_open().text
