"""Evaluation jobs when something happens meanwhile: a restart, a deletion, a name that is taken. No sandbox needed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from local_platform.context import Platform, open_platform
from local_platform.datasets.files import publish_file
from local_platform.evaluations.run import measure, next_job, run_job
from local_platform.evaluators.build import build_next
from local_platform.jobs.state import JobState
from local_platform.resources import delete, find, get, insert, update_body
from local_platform.tables import DatasetRow, EvaluationJobRow, EvaluatorRow
from pilotlight.settings import Settings
from pilotlight.sources import pack

EVALUATOR, JOB = "accounts/acme/evaluators/e", "accounts/acme/evaluationJobs/j"
INPUT, OUTPUT = "accounts/acme/datasets/answers", "accounts/acme/datasets/scored"
ROWS = [
    {"messages": [{"role": "user", "content": "?"}, {"role": "assistant", "content": said}], "ground_truth": "1"}
    for said in ("1", "2", "3")
]


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    """With an ACTIVE evaluator, a READY dataset and a waiting job."""
    platform = open_platform(Settings(home=tmp_path, account="acme"))
    archive = tmp_path / "archive"
    archive.write_bytes(pack({"evaluator.py": "def evaluate(row, completion): return 1"}))
    with platform.writing() as db:
        source = platform.blobs.adopt(archive)
        insert(db, EvaluatorRow, EVALUATOR, {"_source": source, "_queued": True}, "BUILDING")
        db.commit()
    assert build_next(platform)
    assert not build_next(platform)
    add_dataset(platform, INPUT, tmp_path)
    with platform.writing() as db:
        named = {"evaluator": EVALUATOR, "inputDataset": INPUT, "outputDataset": OUTPUT, "createdBy": "ann@acme"}
        insert(db, EvaluationJobRow, JOB, named, JobState.PENDING)
        db.commit()
    return platform


def add_dataset(platform: Platform, name: str, folder: Path) -> None:
    file = folder / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    with platform.writing() as db:
        insert(db, DatasetRow, name, {"createdBy": "ann@acme"}, "UPLOADING")
        db.commit()
    publish_file(platform, name, file, ["rows.jsonl"])


def scoring(then: Callable[[], None] = lambda: None) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def score(request: dict[str, Any]) -> dict[str, Any]:
        assert [row["completion"] for row in request["rows"]] == ["1", "2", "3"]
        assert all(row["messages"] == ROWS[0]["messages"][:1] for row in request["rows"])
        then()
        return {"scores": [{"score": 1.0}, {"score": 0.0, "error": "no"}, {"score": 0.5}], "log": "hi"}

    return score


def job_of(platform: Platform) -> EvaluationJobRow:
    with platform.reading() as db:
        return get(db, EvaluationJobRow, JOB)


def test_a_job_that_was_cut_off_is_done_again_and_writes_once(platform: Platform) -> None:
    run_job(platform, JOB, scoring())
    with platform.reading() as db:
        first = get(db, DatasetRow, OUTPUT).body["contentHash"]
    for state in (JobState.RUNNING, JobState.WRITING_RESULTS):
        with platform.writing() as db:
            update_body(db, get(db, EvaluationJobRow, JOB), {"metrics": None}, state)
            db.commit()
        assert next_job(platform) == JOB
        run_job(platform, JOB, scoring())
        done = job_of(platform)
        assert (done.state, done.body["metrics"]["score"]) == (JobState.COMPLETED, 0.5)
    with platform.reading() as db:
        assert get(db, DatasetRow, OUTPUT).body["contentHash"] == first
    assert next_job(platform) is None


def test_a_job_deleted_while_it_runs_writes_nothing(platform: Platform) -> None:
    def remove() -> None:
        with platform.writing() as db:
            delete(db, get(db, EvaluationJobRow, JOB))
            db.commit()

    run_job(platform, JOB, scoring(remove))
    with platform.reading() as db:
        assert find(db, DatasetRow, OUTPUT) is None
        assert find(db, EvaluationJobRow, JOB) is None


def test_an_output_that_somebody_else_made_meanwhile_is_left_alone(platform: Platform, tmp_path: Path) -> None:
    run_job(platform, JOB, scoring(lambda: add_dataset(platform, OUTPUT, tmp_path)))
    done = job_of(platform)
    assert done.state == JobState.FAILED
    assert "created by somebody else" in done.body["status"]["message"]
    with platform.reading() as db:
        assert "sourceJobName" not in get(db, DatasetRow, OUTPUT).body


def test_an_evaluator_that_fails_on_every_row_is_no_result(platform: Platform) -> None:
    def fail(_: dict[str, Any]) -> dict[str, Any]:
        return {"scores": [{"score": 0.0, "error": "KeyError: 'x'"}] * 3, "log": ""}

    run_job(platform, JOB, fail)
    done = job_of(platform)
    assert (done.state, "metrics" in done.body) == (JobState.FAILED, False)
    assert "failed on every row, first with: KeyError" in done.body["status"]["message"]


def test_the_metrics_are_the_mean_and_its_spread() -> None:
    found = measure([{"score": 1.0}, {"score": 0.0, "error": "no"}, {"score": 0.5}])
    assert found == {"score": 0.5, "score_stdev": 0.5, "rows": 3, "errors": 1}
    assert measure([{"score": 1.0}])["score_stdev"] == 0.0
