"""Sessions through kills at every named point, at random, and through everything else that goes wrong."""

from pathlib import Path

import pytest

from pilotlight.crashpoints import Point
from tests.crashes import scenarios
from tests.crashes.campaign import Evidence, Options, run
from tests.crashes.case import load_case
from tests.crashes.checker import check
from tests.crashes.report import summarise

pytestmark = pytest.mark.timeout(3600)


def hold(options: Options, folder: Path) -> Evidence:
    """Run a campaign, print what it amounts to, and require that every promise held."""
    evidence = run(options, folder / "world")
    violations = check(load_case(evidence), timed="clock" not in options.disturbances)
    print(summarise(evidence, violations))
    assert violations == []
    return evidence


def test_every_crash_point(tmp_path: Path) -> None:
    evidence = hold(scenarios.named(seed=1, hits=1), tmp_path)
    assert len({point for _, point in evidence.killed if ":" in point}) == len(Point)


@pytest.mark.slow
def test_every_crash_point_at_its_later_hits(tmp_path: Path) -> None:
    evidence = hold(scenarios.named(seed=1), tmp_path)
    assert len({point for _, point in evidence.killed if ":" in point}) >= 120


def test_random_kills(tmp_path: Path) -> None:
    evidence = hold(scenarios.random(seed=2, kills=30), tmp_path)
    assert len(evidence.killed) == 30
    assert {victim for _, victim in evidence.killed} == {"runner", "control", "platform"}


def test_zombies_while_trainers_die_and_the_database_is_locked(tmp_path: Path) -> None:
    evidence = hold(scenarios.disturbed("zombies", seed=3, beside=("locked", "trainers")), tmp_path)
    assert evidence.disturbed > 6


@pytest.mark.slow
@pytest.mark.parametrize("name", ["zombies", "locked", "full", "clock", "trainers"])
def test_what_else_goes_wrong(tmp_path: Path, name: str) -> None:
    evidence = hold(scenarios.disturbed(name, seed=3), tmp_path)
    assert evidence.disturbed > 1


@pytest.mark.slow
def test_a_database_server_that_crashes(tmp_path: Path) -> None:
    evidence = hold(scenarios.disturbed("database", seed=3), tmp_path)
    assert evidence.disturbed == 4


@pytest.mark.slow
@pytest.mark.timeout(14400)
@pytest.mark.parametrize("postgres", [False, True], ids=["sqlite", "postgres"])
def test_three_thousand_random_kills(tmp_path: Path, postgres: bool) -> None:
    evidence = hold(scenarios.random(seed=4, kills=3000, postgres=postgres), tmp_path)
    assert len(evidence.killed) == 3000
