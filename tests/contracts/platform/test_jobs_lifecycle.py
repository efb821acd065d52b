"""A fine-tuning job through the official SDK: real trainer, real tiny model, over a socket."""

import json
import os
import signal
import sqlite3
from pathlib import Path
from typing import Any

import fireworks
import httpx
import pytest
from fireworks import Fireworks

from tests.fixtures.platform import PlatformServer, is_running, raw_job, wait_for_job, wait_until

LONG = 200.0
"""Epochs that keep a tiny trainer busy for longer than a test looks."""


def trainer_pid(server: PlatformServer, job: str) -> int | None:
    """The process of a running job, from the platform's own records."""
    with sqlite3.connect(server.home / "platform" / "platform.db") as db:
        name = f"accounts/{server.account}/supervisedFineTuningJobs/{job}"
        return db.execute("SELECT pid FROM platform_job_run WHERE job = ?", (name,)).fetchone()[0]


@pytest.fixture(scope="module")
def trained(platform_server: PlatformServer, tiny_base: str, chat_dataset: str) -> dict[str, Any]:
    """One job that ran to its end."""
    with platform_server.client() as sdk:
        created = sdk.supervised_fine_tuning_jobs.create(
            supervised_fine_tuning_job_id="first-job",
            dataset=chat_dataset,
            base_model=tiny_base,
            output_model="first-model",
            lora_rank=4,
            learning_rate=2e-4,
            epochs=2,
            display_name="The first",
        )
        assert created.state == "JOB_STATE_CREATING"
        assert created.name == "accounts/acme/supervisedFineTuningJobs/first-job"
        wait_for_job(sdk, "first-job", "COMPLETED")
    return raw_job(platform_server, "first-job")


def test_a_finished_job_says_what_it_did(trained: dict[str, Any], tiny_base: str) -> None:
    expected = {"baseModel": tiny_base, "loraRank": 4, "epochs": 2.0, "learningRate": 2e-4, "evalAutoCarveout": True}
    assert expected.items() <= trained.items()
    assert trained["status"] == {"code": "OK", "message": trained["status"]["message"]}
    assert trained["jobProgress"]["percent"] == 100
    assert trained["jobProgress"]["inputTokens"] > 0
    local = trained["localProgress"]
    assert local["state"] == "COMPLETED"
    assert local["step"] == local["totalSteps"] > 0
    assert local["evalLoss"] > 0
    assert trained["createdBy"]
    assert trained["completedTime"] > trained["createTime"]
    assert not [field for field in trained if field.startswith("_")]


def test_its_cost_is_machine_time(trained: dict[str, Any]) -> None:
    cost, seconds = trained["estimatedCost"], trained["localProgress"]["runningSeconds"]
    assert cost["currencyCode"] == "USD"
    assert 1 < seconds < 120
    assert int(cost["units"]) + cost["nanos"] / 1e9 == pytest.approx(seconds * 0.20 / 3600, abs=2e-6)


def test_the_output_model_is_there_at_once(sdk: Fireworks, trained: dict[str, Any], tiny_base: str) -> None:
    model = sdk.models.get("first-model")
    assert (model.state, model.kind, model.fine_tuning_job) == ("READY", "HF_PEFT_ADDON", trained["name"])
    assert model.peft_details
    assert (model.peft_details.base_model, model.peft_details.r) == (tiny_base, 4)
    assert "q_proj" in model.peft_details.target_modules


def test_its_files_are_downloadable_without_a_key(trained: dict[str, Any]) -> None:
    rows = [json.loads(line) for line in httpx.get(trained["metricsFileSignedUrl"]).text.splitlines()]
    assert rows[0].keys() >= {"step", "evalLoss"}
    assert rows[-1]["evalLoss"] == pytest.approx(trained["localProgress"]["evalLoss"])
    sample = json.loads(httpx.get(trained["renderSamplesSignedUrl"]).text.splitlines()[0])
    assert sample["source_jsonl_line_number"] >= 1
    assert httpx.get(trained["trainerLogsSignedUrl"]).status_code == 200
    assert httpx.get(trained["metricsFileSignedUrl"].replace("signature=", "signature=0")).status_code == 403


def test_the_same_id_twice_is_already_exists(
    platform_server: PlatformServer, trained: dict[str, Any], tiny_base: str
) -> None:
    with platform_server.http() as http:
        answer = http.post(
            "/v1/accounts/acme/supervisedFineTuningJobs?supervisedFineTuningJobId=first-job",
            json={"dataset": trained["dataset"], "baseModel": tiny_base},
        )
    assert (answer.status_code, answer.json()["code"], answer.headers["x-should-retry"]) == (409, 6, "false")
    assert answer.json()["message"].startswith("accounts/acme/supervisedFineTuningJobs/first-job already exists.")


def test_a_taken_output_model_is_refused(sdk: Fireworks, trained: dict[str, Any], tiny_base: str) -> None:
    with pytest.raises(fireworks.ConflictError, match="Output model accounts/acme/models/first-model already exists"):
        sdk.supervised_fine_tuning_jobs.create(
            dataset=trained["dataset"], base_model=tiny_base, output_model="first-model"
        )


def test_lists_filter_order_and_mask(sdk: Fireworks, trained: dict[str, Any]) -> None:
    jobs = sdk.supervised_fine_tuning_jobs
    assert [job.name for job in jobs.list(filter='display_name="The first" AND state=JOB_STATE_COMPLETED')] == [
        trained["name"]
    ]
    assert not list(jobs.list(filter="loraRank>4 AND outputModel:first-model"))
    masked = jobs.get("first-job", read_mask="name,state")
    assert masked.to_dict() == {"name": trained["name"], "state": "JOB_STATE_COMPLETED"}
    with pytest.raises(fireworks.BadRequestError, match="Unknown field 'secretField' in filter"):
        list(jobs.list(filter="secret_field=1"))


def test_a_finished_job_neither_cancels_nor_resumes(sdk: Fireworks, trained: dict[str, Any]) -> None:
    with pytest.raises(fireworks.BadRequestError, match="JOB_STATE_COMPLETED and cannot go to JOB_STATE_CANCELLED"):
        sdk.supervised_fine_tuning_jobs.cancel("first-job", body={})
    with pytest.raises(fireworks.BadRequestError, match="JOB_STATE_COMPLETED and cannot go to JOB_STATE_PENDING"):
        sdk.supervised_fine_tuning_jobs.resume("first-job", body={})


def test_a_warm_start_continues_an_adapter(
    sdk: Fireworks, platform_server: PlatformServer, trained: dict[str, Any]
) -> None:
    with pytest.raises(fireworks.BadRequestError, match="Field 'loraRank' must be 4 when warm starting"):
        sdk.supervised_fine_tuning_jobs.create(dataset=trained["dataset"], warm_start_from="first-model", lora_rank=8)
    sdk.supervised_fine_tuning_jobs.create(
        supervised_fine_tuning_job_id="warm", dataset=trained["dataset"], warm_start_from="first-model"
    )
    wait_for_job(sdk, "warm", "COMPLETED")
    warm = raw_job(platform_server, "warm")
    assert (warm["loraRank"], warm["learningRate"], warm["outputModel"]) == (4, 2e-4, "accounts/acme/models/warm")
    assert "baseModel" not in warm
    rows = [json.loads(line) for line in httpx.get(warm["metricsFileSignedUrl"]).text.splitlines()]
    assert rows[0]["warmStartEvalLoss"] < rows[0]["evalLoss"]


def test_cancel_saves_and_resume_goes_on(
    sdk: Fireworks, platform_server: PlatformServer, tiny_base: str, chat_dataset: str
) -> None:
    jobs = sdk.supervised_fine_tuning_jobs
    jobs.create(supervised_fine_tuning_job_id="stopped", dataset=chat_dataset, base_model=tiny_base, epochs=LONG)  # pyright: ignore[reportArgumentType]
    wait_for_job(sdk, "stopped", "RUNNING")
    wait_until(lambda: raw_job(platform_server, "stopped")["localProgress"].get("step", 0) > 3)
    jobs.cancel("stopped", body={})
    jobs.cancel("stopped", body={})
    wait_for_job(sdk, "stopped", "CANCELLED")
    stopped = raw_job(platform_server, "stopped")
    assert stopped["status"] == {"code": "CANCELLED", "message": "Cancelled by request."}
    reached = stopped["localProgress"]["step"]
    assert reached > 3
    assert jobs.resume("stopped", body={}).state == "JOB_STATE_PENDING"
    wait_for_job(sdk, "stopped", "RUNNING")
    wait_until(lambda: raw_job(platform_server, "stopped")["localProgress"].get("step", 0) > 0)
    resumed = raw_job(platform_server, "stopped")["localProgress"]
    assert resumed["step"] >= reached
    assert resumed["runningSeconds"] > stopped["localProgress"]["runningSeconds"]
    folder: Path = platform_server.home / "platform" / "jobs" / "acme" / "stopped"
    pid = trainer_pid(platform_server, "stopped")
    assert pid
    jobs.delete("stopped")
    with pytest.raises(fireworks.NotFoundError):
        jobs.get("stopped")
    assert not folder.exists()
    wait_until(lambda: not is_running(pid), 10)


def test_a_killed_trainer_goes_on_from_its_checkpoint_and_then_fails(
    sdk: Fireworks, platform_server: PlatformServer, tiny_base: str, chat_dataset: str
) -> None:
    jobs = sdk.supervised_fine_tuning_jobs
    jobs.create(supervised_fine_tuning_job_id="killed", dataset=chat_dataset, base_model=tiny_base, epochs=LONG)  # pyright: ignore[reportArgumentType]
    wait_for_job(sdk, "killed", "RUNNING")
    killed: list[int] = []
    while len(killed) < 3:
        wait_until(lambda: trainer_pid(platform_server, "killed") not in (None, *killed))
        killed.append(trainer_pid(platform_server, "killed") or 0)
        os.kill(killed[-1], signal.SIGKILL)
    failed = wait_for_job(sdk, "killed", "FAILED")
    assert failed.status.code == "INTERNAL"
    assert failed.status.message.startswith("The trainer was lost 3 times, last with exit status -9.")
    jobs.delete("killed")


def test_a_waiting_job_is_cancelled_at_once(sdk: Fireworks, tiny_base: str, chat_dataset: str) -> None:
    jobs = sdk.supervised_fine_tuning_jobs
    names = [f"queued-{n}" for n in range(3)]
    for name in names:
        jobs.create(supervised_fine_tuning_job_id=name, dataset=chat_dataset, base_model=tiny_base, epochs=LONG)  # pyright: ignore[reportArgumentType]
    wait_until(lambda: jobs.get("queued-1").state not in ("JOB_STATE_CREATING", "JOB_STATE_PENDING"))
    wait_until(lambda: jobs.get("queued-2").state == "JOB_STATE_PENDING")
    jobs.cancel("queued-2", body={})
    assert jobs.get("queued-2").state == "JOB_STATE_CANCELLED"
    for name in names:
        jobs.delete(name)
