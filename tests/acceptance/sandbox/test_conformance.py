"""Every probe is blocked in both profiles, and each is proven able to fail: with its protection gone, it succeeds."""

import os
import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path
from typing import get_args

import pytest

from runner.sandbox.check import check_sandbox, summarize
from runner.sandbox.conformance.ablations import ABLATIONS, ablate
from runner.sandbox.conformance.inside import list_probes
from runner.sandbox.conformance.probe import BLOCKED, REACHED, Bait
from runner.sandbox.conformance.suite import run_probes
from runner.sandbox.spec import Profile, session_uid
from runner.sandbox.stage import Start

PROFILES: tuple[Profile, ...] = get_args(Profile)
ROOT = Path(__file__).parents[3]
UID = session_uid("conformance", 210_000) if os.getuid() == 0 else None
FAMILIES = {"fs", "proc", "mnt", "ns", "priv", "ipc", "net", "kern", "tty", "env", "fd", "python", "resource"}
PROOFS = sorted(
    {(profile, proof) for profile in PROFILES for one in list_probes(profile) if (proof := one.proofs.get(profile))}
)


@cache
def run_whole(profile: Profile) -> dict[str, str]:
    return run_probes(profile, "", UID)


@pytest.mark.parametrize("profile", PROFILES)
def test_every_probe_is_blocked(profile: Profile) -> None:
    claimed = {probe.name for probe in list_probes(profile) if profile in probe.proofs}
    outcomes = {name: outcome for name, outcome in run_whole(profile).items() if name in claimed}
    assert {name: outcome for name, outcome in outcomes.items() if outcome != BLOCKED} == {}
    assert outcomes.keys() == claimed


@pytest.mark.parametrize("profile", PROFILES)
def test_there_are_enough_probes_of_every_family(profile: Profile) -> None:
    claimed = [probe for probe in list_probes(profile) if profile in probe.proofs]
    assert len(claimed) >= 120
    assert Counter(probe.name for probe in claimed).most_common(1)[0][1] == 1
    assert {probe.family for probe in claimed} == FAMILIES


def test_what_a_runner_is_left_open_to_is_listed_with_a_reason() -> None:
    known = {probe.name for probe in list_probes("runner") if "runner" not in probe.proofs}
    assert known == {"net.gateway", "proc.mountinfo", "proc.cpuinfo", "proc.pid1_memory"}
    assert {
        name: run_whole("runner")[name] for name in known if not run_whole("runner")[name].startswith(REACHED)
    } == {}


@pytest.mark.parametrize(("profile", "ablation"), PROOFS)
def test_probes_succeed_when_their_protection_is_gone(profile: Profile, ablation: str) -> None:
    named = [probe.name for probe in list_probes(profile) if probe.proofs.get(profile) == ablation]
    outcomes = run_probes(profile, ablation, UID)
    assert {name: outcomes[name] for name in named if not outcomes[name].startswith(REACHED)} == {}


def test_an_ablation_takes_at_most_two_protections_away() -> None:
    assert {proof for _, proof in PROOFS if len(proof.split("+")) > 2} == set()
    assert {part for _, proof in PROOFS for part in proof.split("+")} == set(ABLATIONS)


@pytest.mark.parametrize("name", sorted(set(ABLATIONS) - {"env", "leak", "limits", "socket", "size"}))
def test_an_ablation_that_removes_nothing_is_an_error(name: str, bait: Bait) -> None:
    with pytest.raises(ValueError, match="is not in"):
        ablate(Start(["bwrap", "--", "python"], {}, {}), name, bait)


@pytest.fixture
def bait() -> Bait:
    texts = dict.fromkeys(("hostname", "canary", "secret", "abstract", "socket", "gateway", "queue", "shm_file"), "x")
    numbers = dict.fromkeys(("pid", "tcp_port", "udp_port", "shared_memory", "semaphores", "messages"), 0)
    return Bait(**texts, **numbers, namespaces={}, limits={})


def test_production_code_does_not_know_the_ablations() -> None:
    allowed = {"conformance", "check.py"}
    for path in (ROOT / "runner").rglob("*.py"):
        if not allowed & set(path.parts):
            assert "conformance" not in path.read_text(), path
    assert "ablation" not in (ROOT / "runner/sandbox/check.py").read_text()


@pytest.mark.parametrize("uid", [0, 65534])
def test_probes_refuse_to_run_outside_of_a_sandbox(uid: int) -> None:
    if os.getuid() != 0:
        uid = os.getuid()
    code = f"import os, sys; sys.path.insert(0, {str(ROOT)!r})\n"
    code += "from runner.sandbox.conformance.inside import main\n"
    code += f"os.setuid({uid}) if os.getuid() == 0 else None\nmain()"
    done = subprocess.run([sys.executable, "-c", code, "runner", "{}"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "inside a sandbox only" in done.stderr


def test_doctor_names_each_family_of_both_profiles() -> None:
    findings = check_sandbox()
    assert [finding for finding in findings if not finding.ok] == []
    assert len(findings) >= 240
    names = [finding.name for finding in summarize(findings)]
    assert {name.split()[1] for name in names if name.startswith("evaluator ")} == FAMILIES
    assert len(names) == 2 * len(FAMILIES)
    broken = findings[0]._replace(ok=False, problem="reached")
    assert broken in summarize([broken, *findings[1:]])
