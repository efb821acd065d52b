"""The ceiling under attack: whatever a planner does, however the processes die, the promises hold."""

from pathlib import Path

import pytest

from runner.adversary.turn import FAMILIES
from tests.adversary.campaign import Evidence, Options, run
from tests.adversary.case import Case, load_case
from tests.adversary.checker import check
from tests.adversary.report import allowed_share, summarise


def campaign(options: Options, home: Path) -> tuple[Evidence, Case]:
    """Run one, print its summary, and require that nothing was violated."""
    evidence = run(options, home)
    case = load_case(evidence)
    violations = check(case)
    print(summarise(evidence, case, violations))
    assert violations == []
    assert "Unexpected failure" not in (home / "control.log").read_text()
    assert allowed_share(evidence) > 0.2
    return evidence, case


def test_forty_sessions_with_crashes(tmp_path: Path) -> None:
    evidence, case = campaign(Options(40, seed=1, kills=3), tmp_path / "home")
    assert evidence.kills == 3
    assert evidence.families.keys() >= FAMILIES.keys()
    kinds = {seen.created.split("/")[2] for seen in case.log if seen.created}
    assert kinds >= {"supervisedFineTuningJobs", "deployments", "datasets", "models"}
    assert len(case.approvals) > 10


@pytest.mark.parametrize("seed", [2])
def test_a_sample_in_the_real_sandbox(tmp_path: Path, seed: int) -> None:
    evidence, case = campaign(Options(10, seed, kills=1, sandbox="bwrap"), tmp_path / "home")
    assert evidence.calls > 100
    assert len(case.log) > 20


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_two_thousand_sessions_with_crashes(tmp_path: Path) -> None:
    evidence, _ = campaign(Options(2000, seed=3, kills=20, limit_seconds=6000), tmp_path / "home")
    assert evidence.kills == 20
