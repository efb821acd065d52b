"""Test every protection of the sandbox on this host: what is closed, what is open, and how to repair it."""

import os
from collections import defaultdict
from typing import NamedTuple, get_args

from pilotlight.errors import PilotlightError
from runner.sandbox.conformance.inside import list_probes
from runner.sandbox.conformance.probe import BLOCKED
from runner.sandbox.conformance.suite import Kind, run_probes
from runner.sandbox.spec import session_uid

_REPAIRS = {
    "No permissions to create": "Allow user namespaces: `sudo sysctl -w kernel.unprivileged_userns_clone=1`, and on "
    "Ubuntu 24.04 or later `sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`.",
    "Creating new namespace failed": "Allow user namespaces: `sudo sysctl -w user.max_user_namespaces=15000`; in a "
    "container, run it with `--security-opt seccomp=unconfined --security-opt apparmor=unconfined`.",
    "setting up uid map": "On Ubuntu 24.04 or later: `sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`.",
    "setns": "This host forbids to enter namespaces that one has made. PILOTLIGHT_RUNNER_START=exec starts each runner "
    "as a program of its own instead, in the same sandbox.",
    "unshare": "Started as root, Pilotlight needs CAP_SYS_ADMIN to stage the sandbox; start it as an ordinary user.",
    "Can't mount proc": "In a container, /proc is masked: run it with `--security-opt systempaths=unconfined`.",
    "PR_SET_SECCOMP": "The kernel needs CONFIG_SECCOMP_FILTER, which some containers lack: run on a plain host.",
    "Unknown option": "bubblewrap is too old: 0.8.0 or newer is needed (`bwrap --version`).",
}
_ADVICE = (
    "Do not run sessions here. bubblewrap 0.8.0 or newer on a plain Linux kernel closes it; if this is one, report it "
    "with the output of `python -m runner.sandbox --check`."
)


class Finding(NamedTuple):
    """The outcome of one probe in one kind of sandbox. `ok`: it holds; else `problem` says what was reached."""

    name: str
    ok: bool
    problem: str


def check_sandbox(uid_base: int = 210_000) -> list[Finding]:
    """Start a sandbox of each kind and run every probe in it; one failed finding when it does not even start."""
    uid = session_uid("check", uid_base) if os.getuid() == 0 else None
    return [finding for kind in get_args(Kind) for finding in _check_kind(kind, uid)]


def summarize(findings: list[Finding]) -> list[Finding]:
    """One finding per kind and family where all hold, with their number; each of those that do not."""
    families: dict[str, list[Finding]] = defaultdict(list)
    for finding in findings:
        families[finding.name.partition(".")[0]].append(finding)
    summary: list[Finding] = []
    for family, members in families.items():
        broken = [finding for finding in members if not finding.ok]
        summary += broken or [Finding(f"{family} ({len(members)} protections)", True, "")]
    return summary


def _check_kind(kind: Kind, uid: int | None) -> list[Finding]:
    try:
        outcomes = run_probes(kind, "", uid)
    except PilotlightError as error:
        return [Finding(f"{kind} start", False, explain(str(error)))]
    known = {probe.name for probe in list_probes(kind) if kind not in probe.proofs}
    return [
        Finding(f"{kind} {name}", outcome == BLOCKED, "" if outcome == BLOCKED else f"{outcome}. {_ADVICE}")
        for name, outcome in outcomes.items()
        if name not in known
    ]


def explain(complaint: str) -> str:
    """Why a sandbox did not start, and the command that repairs it where the complaint of bubblewrap is known."""
    last = complaint.strip().splitlines()[-1] if complaint.strip() else "no message"
    repairs = [repair for sign, repair in _REPAIRS.items() if sign in complaint]
    return " ".join([f"The sandbox did not start: {last}", *repairs])
