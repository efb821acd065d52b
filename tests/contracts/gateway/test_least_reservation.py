"""A job costs from its first second: a grant of nothing, or of next to nothing, holds no job."""

from typing import Any

import pytest

from gateway.rules import LEAST_JOB_SECONDS


@pytest.mark.parametrize(("calls", "cost"), [(1, "0"), (1, "0.0002"), (1000, "0.2"), (3, "0.000001")])
def test_a_job_that_could_not_be_ended_in_time_is_refused(bench: Any, job_grant: Any, calls: int, cost: str) -> None:
    bench.approve(job_grant(calls, cost))
    answer = bench.create_job()
    assert answer.status_code == 403
    assert "[rule spend.job]" in answer.json()["error"]["message"]
    assert bench.platform.targets() == []
    assert bench.cost().reserved == 0


def test_some_seconds_of_machine_time_are_enough(bench: Any, job_grant: Any) -> None:
    bench.approve(job_grant(1, str(0.20 * LEAST_JOB_SECONDS / 3600)))
    assert bench.create_job().status_code == 200
