"""What a preference job may ask for, its defaults, and where its files lie. The refusals' texts: contract tests."""

from pathlib import Path
from typing import Any

import pytest

from local_platform.bodies import parse_body
from local_platform.jobs.fields import JobRequest
from local_platform.jobs.kinds import PREFERENCE, SUPERVISED, kind_of
from local_platform.jobs.loss import LossFields, LossSettings, PreferenceRequest, settle_loss
from local_platform.jobs.progress import Progress
from local_platform.jobs.runs import work_directory
from local_platform.jobs.settings import settle
from local_platform.speed.throughput import Throughput, ThroughputBook
from local_platform.tables import JobRow
from pilotlight.errors import InvalidArgument

BASE: dict[str, Any] = {"contextLength": 1024, "localDetails": {"defaultBatchTokens": 640}}


def loss(**fields: Any) -> LossSettings:
    return settle_loss(parse_body(LossFields, fields))


def test_defaults() -> None:
    assert settle_loss(None) == loss() == ("DPO", 0.1, None, {"method": "DPO", "dpo": {"beta": 0.1}})
    assert loss(method="METHOD_UNSPECIFIED")[:2] == ("DPO", 0.1)
    assert loss(method="ORPO") == ("ORPO", 0.1, None, {"method": "ORPO", "klBeta": 0.1})


@pytest.mark.parametrize(
    ("fields", "beta", "shown"),
    [
        ({"dpo": {"beta": 0.3}}, 0.3, {"method": "DPO", "dpo": {"beta": 0.3}}),
        ({"klBeta": 0.3}, 0.3, {"method": "DPO", "klBeta": 0.3, "dpo": {"beta": 0.3}}),
        ({"method": "ORPO", "klBeta": 1}, 1.0, {"method": "ORPO", "klBeta": 1.0}),
        ({"method": "ORPO", "dpo": {"beta": 0.2}}, 0.2, {"method": "ORPO", "dpo": {"beta": 0.2}}),
    ],
)
def test_what_was_sent_is_shown_as_it_was_sent(fields: dict[str, Any], beta: float, shown: dict[str, Any]) -> None:
    """The gateway finds a job again, whose answer was lost, by comparing every field that it sent."""
    settled = loss(**fields)
    assert (settled.beta, settled.shown) == (beta, shown)


@pytest.mark.parametrize("beta", [0, -0.1, 0.5, 1, 1e9])
def test_the_documented_range_of_beta(beta: float) -> None:
    with pytest.raises(InvalidArgument, match=r"greater than 0 and less than 0\.5"):
        loss(dpo={"beta": beta})


def test_the_hyper_parameters_are_those_of_supervised_jobs() -> None:
    body = parse_body(
        PreferenceRequest,
        {
            "dataset": "d",
            "displayName": "x",
            "evaluationDataset": "e",
            "earlyStop": True,
            "trainingConfig": {"baseModel": "m", "epochs": 2, "loraRank": 16, "batchSizeSamples": "4"},
        },
    )
    expected = {"dataset": "d", "displayName": "x", "evaluationDataset": "e", "earlyStop": True}
    expected |= {"baseModel": "m", "epochs": 2, "loraRank": 16, "batchSizeSamples": 4}
    assert body.to_job() == parse_body(JobRequest, expected)


@pytest.mark.parametrize(
    ("method", "rate", "least"), [("SFT", 1e-4, "1e-5"), ("ORPO", 1e-4, "1e-5"), ("DPO", 1e-5, "1e-6")]
)
def test_dpo_learns_at_a_tenth_of_the_rate(method: str, rate: float, least: str) -> None:
    request = parse_body(JobRequest, {"dataset": "d", "baseModel": "m"})
    assert settle(request, BASE, 10, method=method).learning_rate == rate
    too_low = request.model_copy(update={"learning_rate": 9e-7})
    with pytest.raises(InvalidArgument, match=rf"outside valid range \[{least}, 5e-4\]"):
        settle(too_low, BASE, 10, method=method)


def test_jobs_of_one_id_in_two_collections_have_folders_of_their_own() -> None:
    folders: set[Path] = set()
    for kind in (SUPERVISED, PREFERENCE):
        job = JobRow(name=f"accounts/acme/{kind.collection}/same", account="acme", id="same")
        assert kind_of(job.name) is kind
        folders.add(work_directory(Path("home"), job))
    assert len(folders) == 2


def test_a_preference_job_teaches_its_own_speed_only(tmp_path: Path) -> None:
    """Its tokens are read faster, because pairs share their prompts."""
    book = ThroughputBook(tmp_path / "book.json", 1, 1)
    known = Throughput(
        train_tokens_per_second=100, eval_tokens_per_second=300, generate_tokens_per_second=50, startup_seconds=4
    )
    book.put("m", known)
    progress = Progress(
        state="COMPLETED", speed={"trainTokens": 1000, "trainSeconds": 5, "evalTokens": 9, "evalSeconds": 1}
    )
    book.refine("m", progress, 30, pairs=True)
    learned = ThroughputBook(tmp_path / "book.json", 1, 1).get("m")
    assert learned == known.model_copy(
        update={"preference_tokens_per_second": 200.0, "measured_at": learned.measured_at if learned else ""}
    )
    book.refine("m", progress, 30)
    refined = book.get("m")
    assert refined is not None
    assert (refined.train_tokens_per_second, refined.preference_tokens_per_second, refined.jobs) == (130.0, 200.0, 1)
