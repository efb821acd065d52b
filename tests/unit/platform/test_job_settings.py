"""Job fields against their documented limits, defaults and texts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_platform.bodies import parse_body
from local_platform.jobs.fields import JobRequest, check_supported
from local_platform.jobs.settings import LORA_RANKS, settle, show_number
from local_platform.jobs.state import TERMINAL, TRANSITIONS, JobState, check_transition
from pilotlight.errors import FailedPrecondition, InvalidArgument

BASE = {"contextLength": 65_536, "localDetails": {"defaultBatchTokens": 640}}


def request(**fields: object) -> JobRequest:
    return parse_body(JobRequest, {"dataset": "d", "baseModel": "m", **fields})


def test_defaults_are_the_documented_ones() -> None:
    settings = settle(request(), BASE, rows=10)
    assert settings.model_dump(by_alias=True) == {
        "epochs": 1.0,
        "learningRate": 1e-4,
        "learningRateWarmupSteps": 0,
        "loraRank": 8,
        "batchSize": 640,
        "batchSizeSamples": None,
        "gradientAccumulationSteps": 1,
        "maxContextLength": 32_768,
        "optimizerWeightDecay": 0.0,
        "earlyStop": False,
        "evalAutoCarveout": True,
        "jinjaTemplate": None,
    }


def test_context_defaults_to_the_models_where_that_is_shorter() -> None:
    assert settle(request(), BASE | {"contextLength": 512}, rows=10).max_context_length == 512


def test_an_evaluation_dataset_replaces_the_carve_out() -> None:
    assert not settle(request(evaluationDataset="e"), BASE, rows=10).eval_auto_carveout


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"learningRate": 1e-2}, "Learning rate 1e-2 outside valid range [1e-5, 5e-4]"),
        ({"learningRate": -1e-4}, "Learning rate -1e-4 outside valid range [1e-5, 5e-4]"),
        ({"loraRank": 12}, "Invalid loraRank 12: it must be a power of 2 up to 32."),
        ({"loraRank": 64}, "Invalid loraRank 64: it must be a power of 2 up to 32."),
        ({"loraRank": -8}, "Invalid loraRank -8: it must be a power of 2 up to 32."),
        ({"epochs": 0}, "Invalid epochs 0: it must be greater than 0 and at most 1000."),
        ({"epochs": -1}, "Invalid epochs -1: it must be greater than 0 and at most 1000."),
        ({"batchSize": -5}, "Invalid batchSize -5: it must be at least 1."),
        ({"batchSizeSamples": -5}, "Invalid batchSizeSamples -5: it must be at least 1."),
        ({"maxContextLength": 65_537}, "Invalid maxContextLength 65537: the base model supports 2 to 65536 tokens."),
        ({"optimizerWeightDecay": 1.5}, "Invalid optimizerWeightDecay 1.5: it must be between 0 and 1."),
        ({"learningRateWarmupSteps": -1}, "Invalid learningRateWarmupSteps -1: it must be at least 0."),
        ({"jinjaTemplate": "{% if %}"}, "Invalid jinjaTemplate: Expected an expression, got 'end of statement block'"),
        (
            {"evaluationDataset": "e", "evalAutoCarveout": True},
            "Only one of 'evaluationDataset' and 'evalAutoCarveout' should be specified.",
        ),
    ],
)
def test_values_out_of_range_are_refused(fields: dict[str, object], text: str) -> None:
    with pytest.raises(InvalidArgument) as error:
        settle(request(**fields), BASE, rows=10)
    assert error.value.message.startswith(text)


def test_full_parameter_tuning_is_refused_with_a_pointer() -> None:
    with pytest.raises(InvalidArgument, match="Full-parameter tuning") as error:
        settle(request(loraRank=0), BASE, rows=10)
    assert "loraRank 8, 16 or 32" in error.value.hint


def test_rows_times_epochs_have_a_limit() -> None:
    assert settle(request(epochs=3), BASE, rows=1_000_000).epochs == 3
    with pytest.raises(InvalidArgument, match="1000001 x 3, more than the maximum of 3,000,000"):
        settle(request(epochs=3), BASE, rows=1_000_001)


def test_a_warm_start_keeps_what_it_continues() -> None:
    inherited = {"loraRank": 16, "learningRate": 2e-4, "maxContextLength": 1024, "batchSize": 512}
    settings = settle(request(epochs=2), BASE, rows=10, inherited=inherited)
    assert (settings.lora_rank, settings.learning_rate, settings.max_context_length) == (16, 2e-4, 1024)
    with pytest.raises(InvalidArgument, match="Field 'loraRank' must be 16 when warm starting"):
        settle(request(loraRank=8), BASE, rows=10, inherited=inherited)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"nodes": 2}, "Field 'nodes' must be 1: this platform is one machine."),
        ({"region": "US_IOWA_1"}, "Field 'region' is not supported: this platform is one machine."),
        ({"isTurbo": True}, "Field 'isTurbo' is not supported: turbo mode needs more accelerators"),
        ({"wandbConfig": {"enabled": True, "project": "p"}}, "Field 'wandbConfig' is not supported: metrics stay here"),
        ({"awsS3Config": {"iamRoleArn": "x"}}, "Field 'awsS3Config' is not supported"),
        ({"azureBlobStorageConfig": {"tenantId": "x"}}, "Field 'azureBlobStorageConfig' is not supported"),
        ({"useReservation": True}, "Field 'useReservation' is not supported"),
        ({"mtpEnabled": True}, "Field 'mtpEnabled' is not supported"),
        ({"samplerCheckpointSaveIntervalSteps": 5}, "Field 'samplerCheckpointSaveIntervalSteps' is not supported"),
        ({"usePurpose": "fun"}, "Invalid usePurpose 'fun': the only supported value is 'pilot'."),
    ],
)
def test_fields_one_machine_cannot_honour_say_why(fields: dict[str, object], text: str) -> None:
    with pytest.raises(InvalidArgument) as error:
        check_supported(request(**fields))
    assert error.value.message.startswith(text)


def test_their_harmless_values_pass() -> None:
    check_supported(request(nodes=1, region="REGION_UNSPECIFIED", isTurbo=False, wandbConfig={"enabled": False}))
    check_supported(request(usePurpose="pilot"))


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"dataset": "d", "learningrate": 1}, "Unknown field 'learningrate'."),
        ({"baseModel": "m"}, "Missing required field 'dataset'."),
        ({"dataset": "d", "epochs": True}, "Invalid value for field 'epochs': must be a number, not true or false."),
        ({"dataset": "d", "loraRank": 8.5}, "Invalid value for field 'loraRank'"),
        ({"dataset": "d", "learningRate": float("nan")}, "Invalid value for field 'learningRate'"),
        ([], "The request body must be a JSON object."),
    ],
)
def test_malformed_bodies_name_the_field(body: object, text: str) -> None:
    with pytest.raises(InvalidArgument) as error:
        parse_body(JobRequest, body)
    assert error.value.message.startswith(text)


def test_integers_may_travel_as_strings() -> None:
    assert request(loraRank="16", batchSize="1024").batch_size == 1024


@pytest.mark.parametrize(("value", "text"), [(0.01, "1e-2"), (5e-4, "5e-4"), (1.5e-4, "1.5e-4"), (2.0, "2e0")])
def test_numbers_are_written_as_documented(value: float, text: str) -> None:
    assert show_number(value) == text


@given(rank=st.integers(-100, 100), rate=st.floats(1e-5, 5e-4), epochs=st.floats(0.01, 1000))
def test_what_is_settled_is_within_limits(rank: int, rate: float, epochs: float) -> None:
    try:
        settings = settle(request(loraRank=rank, learningRate=rate, epochs=epochs), BASE, rows=100)
    except InvalidArgument:
        assert rank not in LORA_RANKS
    else:
        assert settings.lora_rank == rank
        assert settings.learning_rate == rate


def test_the_transition_table_covers_every_state() -> None:
    assert set(TRANSITIONS) == set(JobState)
    reachable = {target for targets in TRANSITIONS.values() for target in targets}
    assert reachable == set(JobState) - {JobState.CREATING}
    for state in (JobState.COMPLETED, JobState.EARLY_STOPPED):
        assert not TRANSITIONS[state]
    assert all(TRANSITIONS[state] for state in set(JobState) - TERMINAL)


def test_a_transition_outside_the_table_is_refused() -> None:
    assert check_transition("j", "JOB_STATE_FAILED", JobState.PENDING) is JobState.PENDING
    with pytest.raises(FailedPrecondition, match="JOB_STATE_COMPLETED and cannot go to JOB_STATE_CANCELLING"):
        check_transition("j", "JOB_STATE_COMPLETED", JobState.CANCELLING)
