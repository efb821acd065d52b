"""Evaluators and evaluation jobs through the official SDK: built from their source, run in the evaluator sandbox."""

import json
import time
from collections.abc import Callable
from typing import Any

import fireworks
import httpx
import pytest
from fireworks import Fireworks

from pilotlight.sources import pack, unpack

EXACT = """
def evaluate(model_output: str, ground_truth: str) -> float:
    print("scoring", model_output)
    if model_output == "boom":
        raise RuntimeError("no such answer")
    return 1.0 if model_output.strip() == ground_truth else 0.0
"""
FILES = {"evaluator.py": EXACT, "README.md": "exact match"}


def wait(look: Callable[[], Any], *over: str, seconds: float = 60) -> Any:
    deadline = time.monotonic() + seconds
    while (found := look()).state in over:
        assert time.monotonic() < deadline, found
        time.sleep(0.1)
    return found


def upload(sdk: Fireworks, evaluator: str, data: bytes) -> Any:
    sizes = {"source.tar.gz": str(len(data))}
    urls = sdk.evaluators.get_upload_endpoint(evaluator, filename_to_size=sizes).filename_to_signed_urls or {}
    headers = {"X-Goog-Content-Length-Range": f"{len(data)},{len(data)}"}
    httpx.put(urls["source.tar.gz"], content=data, headers=headers).raise_for_status()
    sdk.evaluators.validate_upload(evaluator, body={})
    return wait(lambda: sdk.evaluators.get(evaluator), "BUILDING")


def make(sdk: Fireworks, evaluator: str, files: dict[str, str], **fields: Any) -> Any:
    body: Any = {"display_name": "Exact", **fields}
    made = sdk.evaluators.create(evaluator_id=evaluator, evaluator=body)
    assert (made.name, made.state) == (f"accounts/acme/evaluators/{evaluator}", "BUILDING")
    return upload(sdk, evaluator, pack(files))


def build_log(sdk: Fireworks, evaluator: str) -> str:
    return httpx.get(sdk.evaluators.get_build_log_endpoint(evaluator).build_log_signed_uri or "").text


def answers(sdk: Fireworks, dataset: str, *pairs: tuple[str, str]) -> str:
    rows = [
        {"messages": [{"role": "user", "content": "?"}, {"role": "assistant", "content": said}], "ground_truth": right}
        for said, right in pairs
    ]
    sdk.datasets.create(dataset_id=dataset, dataset={})
    sdk.datasets.upload(dataset, file=("a.jsonl", "\n".join(map(json.dumps, rows)).encode()))
    return f"accounts/acme/datasets/{dataset}"


def test_an_evaluator_is_built_from_its_source_and_given_back(sdk: Fireworks) -> None:
    found = make(sdk, "exact", FILES, entry_point="evaluator.py::evaluate", description="same text")
    assert (found.state, found.entry_point, found.created_by) == ("ACTIVE", "evaluator.py::evaluate", "admin@acme")
    assert "Entry point: evaluator.py::evaluate" in build_log(sdk, "exact")
    urls = sdk.evaluators.get_source_code_endpoint("exact").filename_to_signed_urls or {}
    assert unpack(httpx.get(urls["source.tar.gz"]).content) == FILES
    assert [item.name for item in sdk.evaluators.list(filter='displayName = "Exact"')][:1] == [found.name]
    with pytest.raises(fireworks.BadRequestError, match="cannot be changed"):
        sdk.evaluators.get_upload_endpoint("exact", filename_to_size={"source.tar.gz": "9"})
    with pytest.raises(fireworks.ConflictError):
        sdk.evaluators.create(evaluator_id="exact", evaluator={})


@pytest.mark.parametrize(
    ("name", "files", "reason"),
    [
        ("syntax", {"evaluator.py": "def evaluate(:"}, "evaluator.py is not Python"),
        ("unpinned", {"evaluator.py": EXACT, "requirements.txt": "numpy>=2"}, "'numpy>=2', cannot be used"),
        ("unclear", {"a.py": "", "b.py": ""}, "Which file of the evaluator is to be run"),
    ],
)
def test_a_build_that_fails_says_why(sdk: Fireworks, name: str, files: dict[str, str], reason: str) -> None:
    found = make(sdk, f"bad-{name}", files)
    assert found.state == "BUILD_FAILED"
    assert reason in (found.status.message or "")
    assert reason in build_log(sdk, f"bad-{name}")
    if name == "syntax":
        sdk.evaluators.update(f"bad-{name}", prepare_code_upload=True)
        assert upload(sdk, f"bad-{name}", pack(FILES)).state == "ACTIVE"


def test_a_job_scores_the_answers_of_a_dataset(sdk: Fireworks) -> None:
    make(sdk, "scorer", FILES)
    source = answers(sdk, "answered", ("4", "4"), ("5", "4"), (" 4 ", "4"), ("boom", "4"))
    job: Any = {
        "evaluator": "accounts/acme/evaluators/scorer",
        "input_dataset": source,
        "output_dataset": "accounts/acme/datasets/scored",
    }
    made = sdk.evaluation_jobs.create(evaluation_job_id="first", evaluation_job=job)
    assert made.name == "accounts/acme/evaluationJobs/first"
    done = wait(
        lambda: sdk.evaluation_jobs.get("first"), "JOB_STATE_PENDING", "JOB_STATE_RUNNING", "JOB_STATE_WRITING_RESULTS"
    )
    assert done.state == "JOB_STATE_COMPLETED", done.status
    assert done.metrics == {"score": 0.5, "score_stdev": pytest.approx(0.57735, abs=1e-4), "rows": 4, "errors": 1}
    url = sdk.datasets.get_download_endpoint("scored").filename_to_signed_urls or {}
    rows = [json.loads(line) for line in httpx.get(next(iter(url.values()))).text.splitlines()]
    assert [row["evals"]["score"] for row in rows] == [1.0, 0.0, 1.0, 0.0]
    assert rows[3]["evals"]["error"] == "RuntimeError: no such answer"
    log = httpx.get(sdk.evaluation_jobs.get_log_endpoint("first").execution_log_signed_uri or "").text
    assert log.startswith("scoring 4\n")
    with pytest.raises(fireworks.ConflictError, match="output dataset"):
        sdk.evaluation_jobs.create(evaluation_job=job)
    sdk.evaluation_jobs.delete("first")
    with pytest.raises(fireworks.NotFoundError):
        sdk.evaluation_jobs.get("first")
    sdk.evaluators.delete("scorer")
    with pytest.raises(fireworks.NotFoundError):
        sdk.evaluators.get("scorer")


def test_a_job_that_cannot_be_done_fails_with_the_reason(sdk: Fireworks) -> None:
    make(sdk, "broken", {"evaluator.py": "def evaluate(model_output, ground_truth):\n    return 1 / 0"})
    name = answers(sdk, "to-fail", ("4", "4"), ("5", "5"), ("6", "6"))
    job: Any = {"evaluator": "accounts/acme/evaluators/broken", "input_dataset": name}
    job["output_dataset"] = "accounts/acme/datasets/not-written"
    sdk.evaluation_jobs.create(evaluation_job_id="fails", evaluation_job=job)
    done = wait(lambda: sdk.evaluation_jobs.get("fails"), "JOB_STATE_PENDING", "JOB_STATE_RUNNING")
    assert done.state == "JOB_STATE_FAILED"
    assert "ZeroDivisionError" in (done.status.message or "")
    with pytest.raises(fireworks.NotFoundError):
        sdk.datasets.get("not-written")
