"""The trainer as the process that the scheduler starts: killed, stopped, broken."""

import time
from collections.abc import Callable
from typing import Any

import torch

from local_platform.training.spec import JobSpec
from tests.fixtures.training import SpecMaker, adapter_of, colours, metrics_of, progress_of, start, wait_for_step

Run = Callable[[JobSpec], dict[str, Any]]


def test_killed_stopped_and_resumed_equals_uninterrupted(make_spec: SpecMaker, run: Run) -> None:
    """kill -9 at one place, SIGTERM at another: the same metrics and the same adapter, to the last bit."""
    fields: dict[str, Any] = {
        "rows": colours(64), "epochs": 20, "batch_size_samples": 8, "eval_auto_carveout": True,
        "eval_interval_steps": 10, "checkpoint_interval_steps": 7,
    }  # fmt: skip
    whole, broken = make_spec("whole", **fields), make_spec("broken", **fields)
    run(whole)

    with start(broken) as process:
        wait_for_step(broken, 31)
        process.kill()
    assert progress_of(broken)["state"] == "RUNNING"

    with start(broken) as process:
        wait_for_step(broken, 90)
        process.terminate()
    assert process.returncode == 143
    stopped = progress_of(broken)
    assert stopped["state"] == "RUNNING"
    assert 90 <= stopped["step"] < stopped["totalSteps"]
    assert f"Stopped at step {stopped['step']}" in stopped["message"]

    with start(broken) as process:
        process.wait(timeout=120)
    assert process.returncode == 0
    assert "Going on from the checkpoint at step" in (broken.work_directory / "trainer.log").read_text()
    assert metrics_of(broken) == metrics_of(whole)
    losses = [spec.work_directory / "heldout_losses.json" for spec in (broken, whole)]
    assert losses[0].read_text() == losses[1].read_text()
    ours, theirs = adapter_of(broken), adapter_of(whole)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    done = progress_of(broken)
    assert done["state"] == "COMPLETED"
    assert done["startedAt"] == stopped["startedAt"]

    with start(broken) as process:
        process.wait(timeout=120)
    assert process.returncode == 0
    assert progress_of(broken) == done, "a finished job is left alone"


def test_bad_data_ends_as_failed_with_its_reason(make_spec: SpecMaker) -> None:
    spec = make_spec(rows=[{"messages": [{"role": "user", "content": "hi"}]}] * 3)
    with start(spec) as process:
        process.wait(timeout=120)
    assert process.returncode == 2
    progress = progress_of(spec)
    assert progress["state"] == "FAILED"
    assert progress["message"].startswith("No row of job.jsonl has a token to train on.")


def test_a_defect_ends_as_failed_too(make_spec: SpecMaker) -> None:
    """The log file is a directory: nothing the trainer foresees."""
    spec = make_spec()
    (spec.work_directory / "trainer.log").mkdir()
    with start(spec) as process:
        _, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    assert progress_of(spec)["state"] == "FAILED"
    assert progress_of(spec)["message"].startswith("The trainer failed: IsADirectoryError")
    assert b"Traceback" in errors


def test_a_spec_that_is_none_is_refused_before_anything_is_loaded(make_spec: SpecMaker) -> None:
    spec = make_spec()
    (spec.work_directory / "spec.json").write_text('{"job": "x", "epochs": -1, "nonsense": 1}')
    with start(spec) as process:
        process.wait(timeout=120)
    assert process.returncode == 2
    message = progress_of(spec)["message"]
    assert "epochs: Input should be greater than 0" in message
    assert "nonsense: Extra inputs are not permitted" in message


def test_sigterm_while_starting_ends_at_once(make_spec: SpecMaker) -> None:
    spec = make_spec()
    with start(spec) as process:
        while not (spec.work_directory / "progress.json").exists():
            time.sleep(0.01)
        process.terminate()
        assert process.wait(timeout=60) == 143
    assert not spec.output_directory.exists()
