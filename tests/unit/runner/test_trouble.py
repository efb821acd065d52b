"""Failed and stuck jobs: what is stopped, what is said, and that only what is missing is paid again."""

from typing import Any

from pilotlight.question import Decision, QuestionKind
from runner.jobs import progress_limit


def jobs_of(control: Any) -> dict[str, str]:
    return {name.split("41e1-")[1]: job["state"].removeprefix("JOB_STATE_") for name, job in control.jobs.items()}


def start(desk: Any, control: Any, parallel: int = 6) -> Any:
    control.instructions = [f"{control.instructions[0]} Run at most {parallel} jobs in parallel."]
    desk.run()
    control.reply("ok")
    desk.run()
    return control.ask_open()


def finish(desk: Any, control: Any) -> None:
    for _ in range(4):
        if not control.finished:
            control.reply("Approved, proceed.")
            desk.run()
    assert control.finished["status"] == "succeeded", control.finished
    assert len(control.applied) == len(set(control.applied))


def test_a_stuck_job_is_stopped_with_the_others_and_only_the_rest_is_asked_for(desk: Any, control: Any) -> None:
    control.stuck, control.patience = {"c3"}, 0.5
    question = start(desk, control)
    assert "has made no progress for 0.00833 minutes, at step 0, and was stopped" in question.text
    assert jobs_of(control) == {"c1": "COMPLETED", "c2": "COMPLETED", "c3": "CANCELLED"}
    assert control.stopped == {"c3"}
    control.reply("How much has this cost so far?")
    desk.run()
    assert "$0.0100 so far" in control.of("status_info")[-1]["text"]
    assert control.ask_open().text == question.text
    control.reply("Can you try again?")
    desk.run()
    question = control.ask_open()
    assert question.kind is QuestionKind.SPEND_INCREASE
    plan = control.plans[question.plan_hash]
    assert plan.increase.finished == ["c1", "c2"]
    assert [(stop.candidate, stop.limit) for stop in plan.increase.stops] == [("c3", "failed")]
    shown = (desk.work / "plan.md").read_text()
    assert "What failed, once more" in shown
    assert "Candidate **c3** failed, or was stopped with those that failed." in shown
    assert "Finished, kept, and not paid again: `c1`, `c2`." in shown
    finish(desk, control)
    assert set(jobs_of(control)) == {"c1", "c2", "c3", "c3-r2"}


def test_a_job_of_slow_steps_is_given_more_time() -> None:
    assert progress_limit(1800, 0) == progress_limit(1800, 60) == 1800
    assert progress_limit(1800, 600) == 6000


def test_three_failures_in_a_row_stop_what_runs_and_begin_nothing_more(desk: Any, control: Any) -> None:
    control.instructions = [f"{control.instructions[0]} Use LoRA ranks 4, 8 and 16 with learning rates 1e-4 and 2e-4."]
    control.failing = {"c1", "c2", "c3"}
    control.stuck = {"c4"}
    question = start(desk, control, parallel=4)
    assert "3 training jobs in a row failed. The last reason: out of memory" in question.text
    assert jobs_of(control) == {"c1": "FAILED", "c2": "FAILED", "c3": "FAILED", "c4": "CANCELLED"}
    before = list(control.applied)
    for _ in range(3):  # turns without an answer start nothing
        desk.run()
    assert control.applied == before
    control.failing, control.stuck = set(), set()
    control.reply("try again")
    desk.run()
    finish(desk, control)
    assert set(jobs_of(control)) == {"c1", "c2", "c3", "c4", "c1-r2", "c2-r2", "c3-r2", "c4-r2", "c5", "c6"}


def test_a_session_that_ended_as_failed_goes_on_from_the_failed_phase(desk: Any, control: Any) -> None:
    control.stuck, control.patience = {"c2"}, 0.5
    start(desk, control)
    control.reply("stop")
    desk.run()
    assert control.finished["status"] == "failed"
    before = list(control.applied)
    control.finished, control.stuck = None, set()
    control.instructions.append("Try again.")
    desk.run()
    question = control.ask_open()
    assert question.kind is QuestionKind.SPEND_INCREASE
    assert control.plans[question.plan_hash].increase.finished == ["c1", "c3"]
    assert control.applied == before  # nothing before it is approved
    finish(desk, control)
    assert set(jobs_of(control)) == {"c1", "c2", "c2-r2", "c3"}


def test_other_words_after_a_failure_are_a_plan_of_their_own(desk: Any, control: Any) -> None:
    control.stuck, control.patience = {"c2"}, 0.5
    start(desk, control)
    control.reply("use rank 8 only")
    desk.run()
    question = control.ask_open()
    assert question.kind is QuestionKind.PLAN_APPROVAL
    assert [candidate.lora_rank for candidate in control.plans[question.plan_hash].candidates] == [8]
    control.reply("no", Decision.REJECT)
    desk.run()
    assert control.finished["status"] == "cancelled"


def test_a_final_run_that_failed_is_the_only_thing_that_runs_again(desk: Any, control: Any) -> None:
    control.instructions = [f"{control.instructions[0]} Use 20 samples for HP tuning."]
    control.failing = {"final"}
    start(desk, control)
    control.reply("ok")
    desk.run()
    assert "out of memory" in control.ask_open().text
    control.failing = set()
    control.reply("try again")
    desk.run()
    plan = control.plans[control.ask_open().plan_hash]
    assert [(stop.part, stop.limit) for stop in plan.increase.stops] == [("final", "failed")]
    assert {grant.method for grant in plan.grants if grant.phase == "sweep"} == set()
    finish(desk, control)
    assert set(jobs_of(control)) == {"c1", "c2", "c3", "final", "final-r2"}
