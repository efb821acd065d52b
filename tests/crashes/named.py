"""The cases of the named campaign: each crash point, at its first, second and a later hit."""

from pilotlight.crashpoints import Point

RARE = frozenset(
    {
        Point.CONTROL_RECOVER_WRITTEN,
        Point.CONTROL_RECOVER_COMMITTED,
        Point.CONTROL_SETTLE_WRITTEN,
        Point.CONTROL_SETTLE_COMMITTED,
        Point.RUNNER_CONTEXT_READ,
        Point.RUNNER_DOWNLOAD_WRITTEN,
        Point.RUNNER_PLAN_SENT,
        Point.RUNNER_QUESTION_PLANNED,
        Point.RUNNER_QUESTION_SENT,
        Point.RUNNER_FINISH_PLANNED,
        Point.RUNNER_FINISH_SENT,
    }
)
"""Reached once in the life of a process, or not often."""


def list_cases(hits: tuple[int, ...] = (1, 2, 3)) -> dict[str, list[str]]:
    """`point:nth` by role, the first hits before the later ones."""
    cases: dict[str, list[str]] = {"runner": [], "control": [], "platform": []}
    for nth in hits:
        for point in Point:
            if nth == 1 or point not in RARE:
                cases[point.value.partition(".")[0]].append(f"{point.value}:{nth}")
    return cases
