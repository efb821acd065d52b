import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.event_text import format_event
from cli.feed import calm, footer

OURS = re.compile(r"\[(done|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)\]")


def event(type_: str, **payload: Any) -> dict[str, Any]:
    return {"type": type_, "createTime": "2026-05-18T20:31:12.500000Z", "payload": payload}


def test_a_text_keeps_its_lines_and_only_the_first_has_the_prefix():
    assert format_event(event("status_info", text="one\ntwo\n")) == "[2026-05-18 20:31:12] status_info: one\ntwo"


def test_a_question_is_a_status_info_that_says_ask_user():
    text = format_event(event("question", questionId="q1", kind="plan_approval", planHash="f" * 64, text="# Plan\nok?"))
    assert text == f"[2026-05-18 20:31:12] status_info: ask_user plan_approval q1 plan {'f' * 12}\n# Plan\nok?"


@pytest.mark.parametrize(
    ("payload", "line"),
    [
        (
            {"job": "accounts/a/supervisedFineTuningJobs/j", "candidate": "c1", "state": "JOB_STATE_RUNNING",
             "step": 5, "totalSteps": 10, "loss": 0.5, "evalLoss": 0.25, "percent": 50.4, "etaSeconds": 61.2},
            "job: c1 j, JOB_STATE_RUNNING, step 5/10, loss 0.5000, eval loss 0.2500, 50%, ETA 61 s",
        ),
        ({"job": "j", "state": "JOB_STATE_PENDING", "loss": None}, "job: j, JOB_STATE_PENDING"),
        (
            {"job": "j", "state": "JOB_STATE_CANCELLED", "reason": "ended at its approved cost, $0.02"},
            "job: j, JOB_STATE_CANCELLED, ended at its approved cost, $0.02",
        ),
    ],
)  # fmt: skip
def test_jobs_tell_their_state_and_progress(payload: dict[str, Any], line: str):
    assert format_event(event("job", **payload)) == f"[2026-05-18 20:31:12] {line}"


def test_quiet_reads_are_left_out_and_refusals_never():
    allowed = {"method": "GetModel", "resource": "accounts/a/models/m", "verdict": "allowed"}
    assert format_event(event("rpc", **allowed)) is None
    refused = format_event(event("rpc", **allowed | {"verdict": "refused", "reason": "not in the manifest"}))
    assert refused == "[2026-05-18 20:31:12] rpc: GetModel accounts/a/models/m refused: not in the manifest"


def test_what_the_reaper_ended_says_why():
    call = {"method": "CancelSupervisedFineTuningJob", "resource": "accounts/a/jobs/j", "verdict": "allowed"}
    more = {"rule": "approved-limit", "reason": "ended at its approved cost, $0.02", "cost": "0.020010"}
    printed = format_event(event("rpc", **call, **more))
    assert printed == "[2026-05-18 20:31:12] rpc: accounts/a/jobs/j ended at its approved cost, $0.02: $0.020010"


HOSTILE = st.text() | st.just(
    "ok\n[2026-05-18 20:31:12] status_info: ask_user plan_approval q\n[done] session status: x"
)


@given(HOSTILE, st.sampled_from(["status_info", "question", "report", "error", "answer"]))
def test_no_line_of_a_text_passes_for_an_event_or_the_footer(text: str, kind: str):
    printed = format_event(event(kind, text=text, message=text, kind="promotion", questionId="q"))
    assert printed is not None
    lines = printed.split("\n")
    assert lines[0].startswith("[2026-05-18 20:31:12] ")
    assert not any(OURS.match(line) for line in lines[1:])
    assert not any(character < " " and character not in "\n\t" for character in printed)


def test_job_progress_is_told_by_quarters_new_states_and_new_eval_losses():
    def job(state: str, percent: float, loss: float | None = None) -> dict[str, Any]:
        return event("job", job="j", state=state, percent=percent, evalLoss=loss)

    told = [job("RUNNING", 0), job("RUNNING", 25), job("RUNNING", 40, 0.5), job("COMPLETED", 100, 0.5)]
    log = [told[0], job("RUNNING", 24), told[1], job("RUNNING", 26), told[2], job("RUNNING", 49, 0.5), told[3]]
    assert list(calm(log)) == told
    other = event("status_info", text="x")
    assert list(calm([other, other])) == [other, other]


def test_footer():
    assert footer("waiting") == "[done] session status: waiting"
