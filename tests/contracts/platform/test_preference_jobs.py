"""A preference job through the official SDK: real trainer, real tiny model, over a socket."""

import json
import math
import re
from pathlib import Path
from typing import Any

import fireworks
import httpx
import pytest
from fireworks import Fireworks

from gateway.creation import same_fields
from tests.fixtures.platform import (
    PlatformServer,
    raw_resource,
    upload_rows,
    wait_for_state,
    wait_until,
)
from tests.fixtures.training import preferences

LONG = 200
"""Epochs that keep a tiny trainer busy for longer than a test looks."""


def raw(server: PlatformServer, job: str) -> dict[str, Any]:
    return raw_resource(server, f"dpoJobs/{job}")


def wait_for(sdk: Fireworks, job: str, *states: str) -> Any:
    return wait_for_state(lambda: sdk.dpo_jobs.get(job), job, *states)


@pytest.fixture(scope="module")
def pairs(platform_server: PlatformServer) -> str:
    return upload_rows(platform_server, "pairs", preferences(24))


@pytest.fixture(scope="module")
def trained(platform_server: PlatformServer, tiny_base: str, pairs: str) -> dict[str, Any]:
    """One DPO job that ran to its end, with held-out pairs of its own."""
    held_out = upload_rows(platform_server, "held-out-pairs", preferences(8, start=100))
    with platform_server.client() as sdk:
        created = sdk.dpo_jobs.create(
            dpo_job_id="first-dpo",
            dataset=pairs,
            display_name="The first",
            loss_config={"method": "DPO", "dpo": {"beta": 0.2, "ref_cache_batch_size": 4}},
            training_config={
                "base_model": tiny_base,
                "output_model": "first-dpo-model",
                "lora_rank": 4,
                "learning_rate": 2e-4,
                "epochs": 3,
            },
            extra_body={"evaluationDataset": held_out},
        )
        assert created.state == "JOB_STATE_CREATING"
        assert created.name == "accounts/acme/dpoJobs/first-dpo"
        wait_for(sdk, "first-dpo", "COMPLETED")
    return raw(platform_server, "first-dpo")


def test_a_finished_job_says_what_it_did(trained: dict[str, Any], tiny_base: str, pairs: str) -> None:
    assert trained["lossConfig"] == {"method": "DPO", "dpo": {"beta": 0.2, "refCacheBatchSize": 4}}
    config = {"baseModel": tiny_base, "loraRank": 4, "epochs": 3.0, "learningRate": 2e-4}
    assert config.items() <= trained["trainingConfig"].items()
    assert trained["trainingConfig"]["outputModel"] == "accounts/acme/models/first-dpo-model"
    assert not trained.keys() & {"baseModel", "loraRank", "epochs", "learningRate", "outputModel"}
    assert (trained["dataset"], trained["jobProgress"]["percent"]) == (pairs, 100)
    assert trained["jobProgress"]["inputTokens"] > 0
    assert trained["estimatedCost"]["nanos"] > 0
    assert not [field for field in trained if field.startswith("_")]


def test_the_gateway_would_know_it_again(trained: dict[str, Any], tiny_base: str, pairs: str) -> None:
    """After a lost answer a job is taken for the one that was asked for only if every field is as it was sent."""
    sent: dict[str, Any] = {
        "dataset": pairs,
        "displayName": "The first",
        "lossConfig": {"method": "DPO", "dpo": {"beta": 0.2}},
        "evaluationDataset": "accounts/acme/datasets/held-out-pairs",
        "trainingConfig": {"baseModel": tiny_base, "outputModel": "accounts/acme/models/first-dpo-model", "epochs": 3},
    }
    assert same_fields(sent, trained)
    assert not same_fields(sent | {"lossConfig": {"method": "DPO", "dpo": {"beta": 0.3}}}, trained)


def test_its_progress_measures_train_base_and_held_out(trained: dict[str, Any]) -> None:
    local = trained["localProgress"]
    measures = local["measures"]
    assert local["evalLoss"] < local["baseEvalLoss"] == pytest.approx(math.log(2), abs=1e-6)
    assert measures["base"]["rewardMargin"] == pytest.approx(0, abs=1e-6)
    assert measures["base"]["rewardAccuracy"] == 0.5
    assert measures["eval"]["rewardMargin"] > 0.01 < measures["train"]["rewardMargin"]
    assert measures["eval"]["rewardAccuracy"] > 0.5
    assert measures["eval"]["rewardMargin"] == pytest.approx(
        measures["eval"]["rewardChosen"] - measures["eval"]["rewardRejected"]
    )


def test_its_metrics_have_an_endpoint(sdk: Fireworks, trained: dict[str, Any]) -> None:
    url = sdk.dpo_jobs.get_metrics_file_endpoint("first-dpo").signed_url
    assert url
    rows = [json.loads(line) for line in httpx.get(url).text.splitlines()]
    assert rows[0]["step"] == 0
    assert rows[-1]["evalPreferenceAccuracy"] == trained["localProgress"]["measures"]["eval"]["preferenceAccuracy"]
    steps = [row for row in rows if "loss" in row]
    assert all(row.keys() >= {"rewardChosen", "rewardRejected", "rewardMargin", "rewardAccuracy"} for row in steps)
    sample = json.loads(httpx.get(trained["renderSamplesSignedUrl"]).text.splitlines()[1])
    assert (sample["source_jsonl_line_number"], sample["split_index"]) == (1, 1)


def test_the_output_model_is_there_at_once(sdk: Fireworks, trained: dict[str, Any], tiny_base: str) -> None:
    model = sdk.models.get("first-dpo-model")
    assert (model.state, model.kind, model.fine_tuning_job) == ("READY", "HF_PEFT_ADDON", trained["name"])
    assert model.peft_details
    assert (model.peft_details.base_model, model.peft_details.r) == (tiny_base, 4)


def test_orpo_continues_the_adapter_of_a_dpo_job(
    sdk: Fireworks, platform_server: PlatformServer, trained: dict[str, Any], pairs: str
) -> None:
    """The rate of another method is not carried over: DPO's is a tenth of ORPO's."""
    sdk.dpo_jobs.create(
        dpo_job_id="warm-orpo",
        dataset=pairs,
        loss_config={"method": "ORPO", "kl_beta": 0.5},
        training_config={"warm_start_from": "first-dpo-model"},
    )
    wait_for(sdk, "warm-orpo", "COMPLETED")
    done = raw(platform_server, "warm-orpo")
    assert done["lossConfig"] == {"method": "ORPO", "klBeta": 0.5}
    assert (done["trainingConfig"]["loraRank"], done["trainingConfig"]["learningRate"]) == (4, 1e-4)
    assert done["trainingConfig"]["warmStartFrom"] == "accounts/acme/models/first-dpo-model"
    assert done["evalAutoCarveout"] is True
    assert done["localProgress"]["measures"]["eval"].keys() == done["localProgress"]["measures"]["base"].keys()


def test_lists_are_of_their_own_collection(sdk: Fireworks, trained: dict[str, Any]) -> None:
    found = list(sdk.dpo_jobs.list(filter='displayName="The first" AND trainingConfig.loraRank=4'))
    assert [job.name for job in found] == [trained["name"]]
    assert trained["name"] not in [job.name for job in sdk.supervised_fine_tuning_jobs.list()]
    assert sdk.dpo_jobs.get("first-dpo", read_mask="name,state").to_dict().keys() == {"name", "state"}
    with pytest.raises(fireworks.NotFoundError):
        sdk.supervised_fine_tuning_jobs.get("first-dpo")


def test_a_cancelled_job_keeps_its_reference_and_resumes(
    sdk: Fireworks, platform_server: PlatformServer, tiny_base: str, pairs: str
) -> None:
    """What a killed trainer does: tests of the trainer. Who starts it again: tests of supervised jobs."""
    jobs = sdk.dpo_jobs
    jobs.create(dpo_job_id="stopped", dataset=pairs, training_config={"base_model": tiny_base, "epochs": LONG})
    with pytest.raises(fireworks.BadRequestError, match="has no metrics yet"):
        jobs.get_metrics_file_endpoint("stopped")
    wait_for(sdk, "stopped", "RUNNING")
    wait_until(lambda: raw(platform_server, "stopped")["localProgress"].get("step", 0) > 3)
    jobs.cancel("stopped", body={})
    wait_for(sdk, "stopped", "CANCELLED")
    folder: Path = platform_server.home / "platform" / "dpo-jobs" / "acme" / "stopped"
    assert len(list((folder / "cache").glob("reference-*"))) == 2, "of the training pairs and of the held-out ones"
    assert (folder / "checkpoints" / "latest.pt").is_file()
    assert jobs.resume("stopped", body={}).state == "JOB_STATE_PENDING"
    jobs.delete("stopped")
    assert not folder.exists()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"lossConfig": {"method": "GRPO"}}, "lossConfig.method GRPO is not supported"),
        ({"lossConfig": {"method": "dpo"}}, "Invalid lossConfig.method 'dpo'"),
        ({"lossConfig": {"dpo": {"beta": 0}}}, "Invalid beta 0: for DPO it must be greater than 0 and less than 0.5"),
        ({"lossConfig": {"dpo": {"beta": 0.5}}}, "Invalid beta 0.5"),
        ({"lossConfig": {"method": "ORPO", "klBeta": 1.5}}, "for ORPO it must be greater than 0 and at most 1"),
        ({"lossConfig": {"klBeta": 0.1, "dpo": {"beta": 0.2}}}, "send one"),
        ({"lossConfig": {"dpo": {"refCacheBatchSize": -1}}}, "refCacheBatchSize -1"),
        ({"lossConfig": {"beta": 0.1}}, "Unknown field 'lossConfig.beta'"),
        ({"baseModel": "tiny-base"}, "Unknown field 'baseModel'"),
        ({"trainingConfig": {}}, "Only one of 'baseModel' and 'warmStartFrom'"),
        ({"trainingConfig": {"baseModel": "BASE", "learningRate": 9e-7}}, r"outside valid range \[1e-6, 5e-4\]"),
        ({"trainingConfig": {"baseModel": "BASE", "loraRank": 0}}, "Full-parameter tuning"),
        ({"dataset": "chats"}, "holds chat rows, and preference jobs learn from pairs"),
        ({"dataset": "prompts"}, "holds prompt rows"),
        ({"evaluationDataset": "chats"}, r"\(evaluationDataset\) holds chat rows"),
        ({"useReservation": True}, "there are no reservations"),
    ],
)
def test_what_cannot_be_done_is_refused_with_its_reason(
    platform_server: PlatformServer, tiny_base: str, pairs: str, chat_dataset: str, fields: dict[str, Any], message: str
) -> None:
    if fields.get("dataset") == "prompts":
        upload_rows(
            platform_server, "prompts", [{"messages": [{"role": "user", "content": f"{n}?"}]} for n in range(3)]
        )
    body = {"dataset": pairs, "trainingConfig": {"baseModel": tiny_base}} | fields
    with platform_server.http() as http:
        answer = http.post("/v1/accounts/acme/dpoJobs", json=json.loads(json.dumps(body).replace("BASE", tiny_base)))
    assert answer.status_code == 400, answer.text
    assert re.search(message, answer.json()["message"]), answer.json()["message"]


def test_a_supervised_job_refuses_pairs(sdk: Fireworks, tiny_base: str, pairs: str) -> None:
    with pytest.raises(fireworks.BadRequestError, match=r"holds preference pairs.*Create a job in dpoJobs"):
        sdk.supervised_fine_tuning_jobs.create(dataset=pairs, base_model=tiny_base)


def test_tokens_of_pairs_are_what_training_reads(platform_server: PlatformServer, trained: dict[str, Any]) -> None:
    """Estimated from characters with each model's tokenizer, against what the trainer counted in three epochs."""
    dataset = raw_resource(platform_server, "datasets/pairs")
    estimated = int(dataset["estimatedTokenCounts"][trained["trainingConfig"]["baseModel"]])
    assert estimated == pytest.approx(trained["localProgress"]["tokens"] / 3, rel=0.25)
