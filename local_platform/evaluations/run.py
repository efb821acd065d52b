"""One evaluation job: read the answers, have them scored by a process of its own, write scores as a dataset.

The code of an evaluator is foreign, so it runs in the evaluator sandbox, which belongs to the runner: this process
reaches it as a program, never as a library. A job that was cut off is done again from its start: scoring changes
nothing outside, and costs only its machine time.
"""

import json
import logging
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from local_platform.context import Platform
from local_platform.datasets.files import publish_file
from local_platform.evaluators.build import make
from local_platform.jobs.runs import cost_of
from local_platform.jobs.state import JobState
from local_platform.jobs.view import local_prices
from local_platform.resources import find, get, insert, select_rows, update_body
from local_platform.tables import DatasetRow, EvaluationJobRow, EvaluatorRow
from pilotlight.clock import now, to_rfc3339
from pilotlight.dataset import iter_rows
from pilotlight.errors import FailedPrecondition, PilotlightError

_WAITING = (JobState.PENDING, JobState.RUNNING, JobState.WRITING_RESULTS)
_log = logging.getLogger(__name__)

Score = Callable[[dict[str, Any]], dict[str, Any]]
"""Asks the scoring program: its request to its answer. Raises PilotlightError when it did not answer."""


class Answered(NamedTuple):
    """A row of the input: as it is, and as an evaluator gets it."""

    row: dict[str, Any]
    asked: dict[str, Any]


def next_job(platform: Platform) -> str | None:
    """The job that waits longest, those that were cut off first."""
    with platform.reading() as db:
        rows = select_rows(db, EvaluationJobRow, None, *_WAITING)
        return min((row.state == JobState.PENDING, row.create_time, row.name) for row in rows)[2] if rows else None


def run_job(platform: Platform, name: str, score: Score) -> None:
    """Do a job to its end, whatever that is; nothing when it is gone."""
    started = time.monotonic()
    if not _move(platform, name, JobState.RUNNING, {}):
        return
    try:
        with platform.reading() as db:
            job = get(db, EvaluationJobRow, name)
            evaluator = get(db, EvaluatorRow, job.body["evaluator"])
        metrics = _evaluate(platform, job, evaluator, score)
        end: tuple[JobState, dict[str, Any]] = (JobState.COMPLETED, {"metrics": metrics, "outputStats": _text(metrics)})
    except (PilotlightError, OSError, ValueError) as error:
        _log.info("%s failed: %s", name, error)
        code = error.status if isinstance(error, PilotlightError) else "INTERNAL"
        end = (JobState.FAILED, {"status": {"code": code, "message": str(error)}})
    cost = cost_of(time.monotonic() - started, local_prices().machine_hour)
    more = {"completedTime": to_rfc3339(now()), **({"estimatedCost": cost} if cost else {})}
    _move(platform, name, end[0], end[1] | more)


def folder_of(platform: Platform, name: str) -> Path:
    """The files of a job."""
    return platform.home / "evaluation-jobs" / name.replace("accounts/", "", 1).replace("/evaluationJobs/", "/")


def _evaluate(platform: Platform, job: EvaluationJobRow, evaluator: EvaluatorRow, score: Score) -> dict[str, float]:
    built, answered = make(platform, evaluator), read_answers(platform.dataset_path(job.body["inputDataset"]))
    settings = platform.settings
    limits = {
        "memory_bytes": settings.sandbox_evaluator_memory_bytes,
        "wall_seconds": settings.sandbox_evaluator_seconds,
        "result_bytes": settings.sandbox_evaluator_result_bytes,
    }
    answer = score(
        {
            "files": built.files,
            "entry": built.entry,
            "packages": str(built.packages) if built.packages else None,
            "rows": [item.asked for item in answered],
            "limits": limits,
            "uid_base": settings.sandbox_uid_base,
        }
    )
    folder = folder_of(platform, job.name)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "execution.log").write_text(str(answer.get("log", "")) + str(answer.get("error", "")), "utf-8")
    if "error" in answer:
        raise FailedPrecondition(str(answer["error"]))
    scores: list[dict[str, Any]] = answer["scores"]
    if all("error" in item for item in scores):
        raise FailedPrecondition(f"The evaluator failed on every row, first with: {scores[0]['error']}")
    if _move(platform, job.name, JobState.WRITING_RESULTS, {}):
        _publish(platform, job, answered, scores)
    return measure(scores)


def read_answers(path: Path) -> list[Answered]:
    """The rows of a dataset, each with its last assistant message as what a model wrote, and the rest before it."""
    return [Answered(row, _asked(row, line)) for line, row in iter_rows(path)]


def measure(scores: list[dict[str, Any]]) -> dict[str, float]:
    """Mean score over all rows, its standard deviation, and how many rows there are and could not be scored."""
    values = [float(item["score"]) for item in scores]
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    failed = sum("error" in item for item in scores)
    return {"score": statistics.fmean(values), "score_stdev": spread, "rows": len(values), "errors": failed}


def _asked(row: dict[str, Any], line: int) -> dict[str, Any]:
    messages: list[dict[str, Any]] = row["messages"]
    last = messages[-1]
    if last.get("role") != "assistant":
        raise FailedPrecondition(f"Line {line} of the input dataset does not end with an answer.")
    written = last.get("content")
    text = written if isinstance(written, str) else json.dumps(written, ensure_ascii=False)
    return row | {"messages": messages[:-1], "completion": text}


def _publish(platform: Platform, job: EvaluationJobRow, answered: list[Answered], scores: list[dict[str, Any]]) -> None:
    name, file = str(job.body["outputDataset"]), folder_of(platform, job.name) / "scores.jsonl"
    with file.open("w", encoding="utf-8") as stream:
        for item, result in zip(answered, scores, strict=True):
            stream.write(json.dumps(item.row | {"evals": result}, ensure_ascii=False) + "\n")
    with platform.writing() as db:
        found = find(db, DatasetRow, name)
        if found is not None and (found.state == "READY" or found.body.get("sourceJobName") != job.name):
            if found.body.get("sourceJobName") == job.name:
                return  # written before this process was started again
            raise FailedPrecondition(f"{name} was created by somebody else while the job ran.")
        if found is None:
            insert(db, DatasetRow, name, {"createdBy": job.body["createdBy"], "sourceJobName": job.name}, "UPLOADING")
        db.commit()
    publish_file(platform, name, file, [f"{job.id}.jsonl"])


def _move(platform: Platform, name: str, state: JobState, fields: dict[str, Any]) -> bool:
    with platform.writing() as db:
        job = find(db, EvaluationJobRow, name)
        if job is not None:
            update_body(db, job, fields, state)
            db.commit()
    return job is not None


def _text(metrics: dict[str, float]) -> str:
    return json.dumps(metrics, sort_keys=True)
