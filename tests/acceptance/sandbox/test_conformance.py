"""Every probe is blocked in every kind of sandbox, and each is proven able to fail by what makes it succeed."""

import os
import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path
from typing import get_args

import pytest

from pilotlight.errors import FailedPrecondition
from runner.sandbox.check import check_sandbox, summarize
from runner.sandbox.conformance.ablations import ABLATIONS, ablate, ablate_way
from runner.sandbox.conformance.inside import list_probes
from runner.sandbox.conformance.probe import BLOCKED, REACHED, Bait
from runner.sandbox.conformance.suite import Kind, run_probes
from runner.sandbox.spec import session_uid
from runner.sandbox.stage import Start
from runner.sandbox.zygote.entry import STEPS

KINDS: tuple[Kind, ...] = get_args(Kind)
RUNNERS: tuple[Kind, ...] = ("runner", "fork")
ROOT = Path(__file__).parents[3]
UID = session_uid("conformance", 210_000) if os.getuid() == 0 else None
FAMILIES = {"fs", "proc", "mnt", "ns", "priv", "ipc", "net", "kern", "tty", "env", "fd", "python", "resource"}
PROOFS = sorted({(kind, proof) for kind in KINDS for one in list_probes(kind) if (proof := one.proofs.get(kind))})
LEFT_OUT = {f"no-{step.name}" for step in STEPS} | {"no-pid"}
"""Each step of a forked runner's way into its room, left out."""
NOTICED_BY_PROBES = {
    "folder": "fs.working_folder",
    "session": "tty.open",
    "signals": "priv.signal_mask",
    "umask": "priv.umask",
    "environment": "env.names",
    "limits": "resource.address_space",
    "life": "proc.outlives_parent",
}
ROOTS = {"groups", "identity"}
"""An ordinary user has nothing to do there."""
REFUSED = sorted(LEFT_OUT - {f"no-{name}" for name in (*NOTICED_BY_PROBES, "keyring", *(ROOTS if UID is None else ()))})


@cache
def run_whole(kind: Kind) -> dict[str, str]:
    return run_probes(kind, "", UID)


@pytest.mark.parametrize("kind", KINDS)
def test_every_probe_is_blocked(kind: Kind) -> None:
    claimed = {probe.name for probe in list_probes(kind) if kind in probe.proofs}
    outcomes = {name: outcome for name, outcome in run_whole(kind).items() if name in claimed}
    assert {name: outcome for name, outcome in outcomes.items() if outcome != BLOCKED} == {}
    assert outcomes.keys() == claimed


@pytest.mark.parametrize("kind", KINDS)
def test_there_are_enough_probes_of_every_family(kind: Kind) -> None:
    claimed = [probe for probe in list_probes(kind) if kind in probe.proofs]
    assert len(claimed) >= 120
    assert Counter(probe.name for probe in claimed).most_common(1)[0][1] == 1
    assert {probe.family for probe in claimed} == FAMILIES


@pytest.mark.parametrize("kind", RUNNERS)
def test_what_a_runner_is_left_open_to_is_listed_with_a_reason(kind: Kind) -> None:
    known = {probe.name for probe in list_probes(kind) if kind not in probe.proofs}
    assert known == {"net.gateway", "proc.mountinfo", "proc.cpuinfo", "proc.pid1_memory"}
    assert {name: run_whole(kind)[name] for name in known if not run_whole(kind)[name].startswith(REACHED)} == {}


def test_what_is_closed_to_a_runner_is_closed_to_a_forked_one() -> None:
    started, forked = ({probe.name for probe in list_probes(kind) if kind in probe.proofs} for kind in RUNNERS)
    assert started <= forked
    assert len(forked - started) >= 6


@pytest.mark.parametrize(("kind", "ablation"), PROOFS)
def test_probes_succeed_when_their_protection_is_gone(kind: Kind, ablation: str) -> None:
    named = [probe.name for probe in list_probes(kind) if probe.proofs.get(kind) == ablation]
    outcomes = run_probes(kind, ablation, UID)
    assert {name: outcomes[name] for name in named if not outcomes[name].startswith(REACHED)} == {}


@pytest.mark.parametrize("left_out", REFUSED)
def test_a_forked_runner_that_left_a_step_out_is_not_run(left_out: str) -> None:
    with pytest.raises(FailedPrecondition, match=r"nothing is run in it|could not be put into its sandbox"):
        run_probes("fork", f"boot+{left_out}", UID)


def test_what_no_check_notices_a_probe_does() -> None:
    """In one run: none of these steps has to do with another's probe."""
    outcomes = run_probes("fork", "+".join(f"no-{name}" for name in NOTICED_BY_PROBES), UID)
    assert {name: outcomes[name] for name in NOTICED_BY_PROBES.values() if not outcomes[name].startswith(REACHED)} == {}


def test_a_forked_runner_has_a_keyring_of_its_own_even_without_the_filter() -> None:
    assert run_probes("fork", "seccomp", UID)["ipc.keyring"] == BLOCKED


def test_a_step_that_does_not_exist_cannot_be_left_out(bait: Bait) -> None:
    with pytest.raises(ValueError, match="is not in the steps"):
        ablate_way("no-such", bait)


def test_an_ablation_takes_at_most_two_protections_away() -> None:
    assert {proof for _, proof in PROOFS if len(proof.split("+")) > 2} == set()
    assert {part for _, proof in PROOFS for part in proof.split("+")} - LEFT_OUT == set(ABLATIONS)


@pytest.mark.parametrize("name", sorted(set(ABLATIONS) - {"env", "leak", "limits", "socket", "size"}))
def test_an_ablation_that_removes_nothing_is_an_error(name: str, bait: Bait) -> None:
    with pytest.raises(ValueError, match="is not in"):
        ablate(Start(["bwrap", "--", "python"], {}, {}), name, bait)


TEXTS = ("hostname", "canary", "secret", "abstract", "socket", "gateway", "queue", "shm_file", "mark", "digest")


@pytest.fixture
def bait() -> Bait:
    texts = dict.fromkeys(TEXTS, "x")
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


def test_doctor_names_each_family_of_every_kind() -> None:
    findings = check_sandbox()
    assert [finding for finding in findings if not finding.ok] == []
    assert len(findings) >= 440
    names = [finding.name for finding in summarize(findings)]
    assert {name.split()[1] for name in names if name.startswith("evaluator ")} == FAMILIES
    assert len(names) == 3 * len(FAMILIES)
    broken = findings[0]._replace(ok=False, problem="reached")
    assert broken in summarize([broken, *findings[1:]])
