"""The cases of the named campaign: each crash point, at its first, second and a later hit."""

from collections.abc import Sequence
from fnmatch import fnmatchcase

from pilotlight.crashpoints import Point

OFTEN = frozenset(
    {
        Point.CONTROL_UPDATE_WRITTEN,
        Point.CONTROL_UPDATE_COMMITTED,
        Point.CONTROL_EVENTS_WRITTEN,
        Point.CONTROL_EVENTS_COMMITTED,
        Point.CONTROL_TURN_BEGUN,
        Point.CONTROL_TURN_COMMITTED,
        Point.CONTROL_ADMIT_WRITTEN,
        Point.CONTROL_ADMIT_COMMITTED,
        Point.CONTROL_CALL_ANSWERED,
        Point.CONTROL_OUTCOME_WRITTEN,
        Point.CONTROL_OUTCOME_COMMITTED,
        Point.RUNNER_NODE_BEGUN,
        Point.RUNNER_NODE_DONE,
        Point.RUNNER_CALL_PLANNED,
        Point.RUNNER_CALL_ANSWERED,
        Point.RUNNER_EVENTS_PLANNED,
        Point.RUNNER_EVENTS_SENT,
        Point.RUNNER_FILE_WRITTEN,
        Point.PLATFORM_DATASET_COMMITTED,
        Point.PLATFORM_UPLOAD_COMMITTED,
        Point.PLATFORM_JOB_COMMITTED,
        Point.PLATFORM_TRAINER_STARTED,
        Point.PLATFORM_TRAINER_NOTED,
        Point.PLATFORM_ADAPTER_MOVED,
        Point.PLATFORM_MODEL_COMMITTED,
        Point.PLATFORM_JOB_ADVANCED,
        Point.PLATFORM_DEPLOYMENT_COMMITTED,
        Point.PLATFORM_LOAD_COMMITTED,
        Point.PLATFORM_REPLICA_ADVANCED,
    }
)
"""Reached several times in the life of a process, so that a later hit is another case."""


def list_cases(patterns: Sequence[str] = ("*",), hits: int = 3) -> dict[str, list[str]]:
    """`point:nth` by role: the points that match at their first hit, and what happens often at each up to `hits`.

    Raises ValueError where a pattern (of `fnmatch`) fits no point.
    """
    for pattern in patterns:
        if not any(fnmatchcase(point.value, pattern) for point in Point):
            raise ValueError(f"no crash point is called {pattern}; pilotlight/crashpoints.py lists them")
    cases: dict[str, list[str]] = {"runner": [], "control": [], "platform": []}
    for point in Point:
        if not any(fnmatchcase(point.value, pattern) for pattern in patterns):
            continue
        role = point.value.partition(".")[0]
        cases[role] += [f"{point.value}:{nth}" for nth in range(1, 1 + (hits if point in OFTEN else 1))]
    return cases
