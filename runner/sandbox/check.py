"""Test every protection of the sandbox on this host: what is closed, what is open, and how to repair it."""

import asyncio
import json
import os
import tempfile
from pathlib import Path
from typing import NamedTuple

from pilotlight.errors import PilotlightError
from runner.sandbox.launch import launch
from runner.sandbox.probes import BLOCKED
from runner.sandbox.spec import LaunchSpec, session_uid

_REPAIRS = {
    "No permissions to create": "Allow user namespaces: `sudo sysctl -w kernel.unprivileged_userns_clone=1`, and on "
    "Ubuntu 24.04 or later `sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`.",
    "Creating new namespace failed": "Allow user namespaces: `sudo sysctl -w user.max_user_namespaces=15000`; in a "
    "container, run it with `--security-opt seccomp=unconfined --security-opt apparmor=unconfined`.",
    "setting up uid map": "On Ubuntu 24.04 or later: `sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`.",
    "unshare": "Started as root, Pilotlight needs CAP_SYS_ADMIN to stage the sandbox; start it as an ordinary user.",
    "Can't mount proc": "In a container, /proc is masked: run it with `--security-opt systempaths=unconfined`.",
}


class Finding(NamedTuple):
    """The outcome of one probe. `ok` means the protection holds; else `problem` says what was reached."""

    name: str
    ok: bool
    problem: str


async def check_sandbox(uid_base: int = 210_000) -> list[Finding]:
    """Start a real sandbox and run every probe in it; one failed finding when it does not even start."""
    with tempfile.TemporaryDirectory(prefix="pilotlight-check-") as folder:
        work, sockets = Path(folder, "work"), Path(folder, "socket")
        work.mkdir()
        sockets.mkdir()
        uid = session_uid("check", uid_base) if os.getuid() == 0 else None
        spec = LaunchSpec(session="check", workspace=work, socket_directory=sockets, uid=uid)
        try:
            process = await launch(spec.model_copy(update={"module": "runner.sandbox.probes"}))
        except PilotlightError as error:
            return [Finding("start", False, str(error))]
        output, complaint = await asyncio.wait_for(process.communicate(), 60)
    if process.returncode != 0:
        return [Finding("start", False, _explain(complaint.decode(errors="replace")))]
    return [Finding(name, outcome == BLOCKED, outcome) for name, outcome in json.loads(output).items()]


def _explain(complaint: str) -> str:
    last = complaint.strip().splitlines()[-1] if complaint.strip() else "no message"
    repairs = [repair for sign, repair in _REPAIRS.items() if sign in complaint]
    return " ".join([f"The sandbox did not start: {last}", *repairs])
