"""Deployment fields, the replica policy and usage buckets, without a server."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_platform.bodies import parse_body, parse_duration
from local_platform.deployments.fields import DeploymentRequest, check_supported, most_replicas
from local_platform.deployments.replica_policy import IDLE_LIFETIME, Load, end_of_life, wanted_replicas
from local_platform.deployments.usage import Interval, dedicated_costs
from pilotlight.errors import InvalidArgument

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def request(**fields: object) -> DeploymentRequest:
    return parse_body(DeploymentRequest, {"baseModel": "m", **fields})


def load(**changes: object) -> Load:
    values: dict[str, object] = {
        "desired": 1,
        "minimum": 0,
        "maximum": 1,
        "last_request": NOW,
        "to_zero_window": HOUR,
        "expires": None,
    }
    return Load(**(values | changes))  # type: ignore[arg-type]


def test_defaults_are_the_documented_ones() -> None:
    defaults = request()
    check_supported(defaults)
    assert (defaults.min_replica_count, most_replicas(defaults)) == (0, 1)
    assert defaults.autoscaling_policy.model_dump(by_alias=True) == {
        "scaleUpWindow": "30s",
        "scaleDownWindow": "600s",
        "scaleToZeroWindow": "3600s",
        "loadTargets": {"default": 0.8},
    }


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"enableAddons": True, "precision": "FP8"}, "addons cannot be enabled with quantized precisions (FP8/FP4)"),
        ({"precision": "FP4"}, "Field 'precision' is not supported"),
        ({"maxReplicaCount": 2}, "Replica counts must be 0 or 1"),
        ({"minReplicaCount": 1, "maxReplicaCount": 0}, "minReplicaCount 1 is greater than maxReplicaCount 0."),
        ({"acceleratorType": "NVIDIA_H100_80GB"}, "Fields 'acceleratorType' and 'acceleratorCount' are not supported"),
        ({"placement": {"region": "US_IOWA_1"}}, "Field 'placement' is not supported: this platform is one machine."),
        ({"draftModel": "x"}, "Field 'draftModel' is not supported: speculative decoding is not offered here."),
        ({"enableHotLoad": True}, "Field 'enableHotLoad' is not supported: hot loading is not offered here"),
        (
            {"autoscalingPolicy": {"scaleToZeroWindow": "299s"}},
            "autoscalingPolicy.scaleToZeroWindow must be at least 5 minutes.",
        ),
        ({"autoscalingPolicy": {"scaleUpWindow": "3601s"}}, "autoscalingPolicy.scaleUpWindow must be at most 1 hour."),
        ({"autoscalingPolicy": {"scaleDownWindow": "5m"}}, "Invalid autoscalingPolicy.scaleDownWindow '5m'."),
        ({"autoscalingPolicy": {"loadTargets": {"speed": 1}}}, "Unknown load target 'speed'."),
        ({"autoscalingPolicy": {"loadTargets": {"default": 0}}}, "Load target 'default' must be greater than 0."),
    ],
)
def test_what_cannot_be_honoured_is_refused(fields: dict[str, object], text: str) -> None:
    with pytest.raises(InvalidArgument) as error:
        check_supported(request(**fields))
    assert error.value.message.startswith(text)


def test_durations_are_protobuf_strings() -> None:
    assert parse_duration("1.5s", "f") == timedelta(seconds=1.5)
    with pytest.raises(InvalidArgument, match="Invalid f '10 minutes'"):
        parse_duration("10 minutes", "f")


@pytest.mark.parametrize(
    ("state", "wanted"),
    [
        (load(), 1),
        (load(desired=0), 0),
        (load(last_request=NOW - HOUR), 0),
        (load(last_request=NOW - HOUR + timedelta(seconds=1)), 1),
        (load(last_request=NOW - HOUR, minimum=1), 1),
        (load(desired=0, minimum=1), 1),
        (load(maximum=0), 0),
    ],
)
def test_replicas_follow_traffic_and_bounds(state: Load, wanted: int) -> None:
    assert wanted_replicas(state, NOW) == wanted


def test_a_deployment_ends_at_its_time_or_after_seven_idle_days() -> None:
    assert end_of_life(load(expires=NOW), NOW) == "expired"
    assert end_of_life(load(last_request=NOW - IDLE_LIFETIME), NOW) == "idle"
    assert end_of_life(load(last_request=NOW - IDLE_LIFETIME, minimum=1), NOW) is None
    assert end_of_life(load(expires=NOW + HOUR), NOW) is None


def test_usage_is_cut_into_days_of_the_zone() -> None:
    late = Interval("d", "CPU", NOW - timedelta(hours=13), NOW)
    rows = dedicated_costs([late], NOW - timedelta(days=2), NOW + HOUR, ["deployment_name"], UTC)
    assert [(row["startTime"], row["endTime"], row["acceleratorSeconds"]) for row in rows] == [
        ("2026-11-20T00:00:00.000000Z", "2026-11-21T00:00:00.000000Z", "3600.000"),
        ("2026-11-21T00:00:00.000000Z", "2026-11-21T13:00:00.000000Z", "43200.000"),
    ]
    assert {row["group"]["deployment_name"] for row in rows} == {"d"}


@given(
    spans=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 10_000)), max_size=6),
    start=st.integers(0, 10_000),
    length=st.integers(1, 10_000),
    zone=st.sampled_from(["UTC", "Europe/Paris", "America/New_York", "Asia/Kolkata"]),
)
def test_no_second_is_lost_or_counted_twice(spans: list[tuple[int, int]], start: int, length: int, zone: str) -> None:
    def moment(minutes: int) -> datetime:
        return datetime(2026, 10, 20, tzinfo=UTC) + timedelta(minutes=minutes)

    intervals = [Interval("d", "CPU", moment(first), moment(first + more)) for first, more in spans]
    rows = dedicated_costs(intervals, moment(start), moment(start + length), [], ZoneInfo(zone))
    expected = sum(max(0, min(first + more, start + length) - max(first, start)) for first, more in spans) * 60
    assert sum(float(row["acceleratorSeconds"]) for row in rows) == pytest.approx(expected)
