"""Start a sandbox with bait around it and run the probes: as in production, or with protections taken away."""

import json
import os
import pty
import subprocess
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from pilotlight.errors import FailedPrecondition, Internal
from runner.sandbox.conformance.bait import lay_bait
from runner.sandbox.conformance.fingerprint import await_unchanged, take_fingerprint
from runner.sandbox.conformance.interpreter import PLANTS
from runner.sandbox.conformance.probe import Bait
from runner.sandbox.launch import prepare_host, stage_command
from runner.sandbox.spec import LaunchSpec, Limits, Profile

LIMITS = Limits(
    address_space_bytes=2 << 30, cpu_seconds=60, open_files=64, processes=24, file_bytes=4 << 20, tmpfs_bytes=8 << 20
)
"""Small, so that going beyond them costs little."""
_TIMEOUT_SECONDS = 120


def run_probes(profile: Profile, ablation: str, uid: int | None) -> dict[str, str]:
    """Outcome by probe. `ablation` is "" for the sandbox as it is; `uid` as in LaunchSpec.

    Raises FailedPrecondition when the sandbox does not start, Internal when the host is not afterwards what it was.
    """
    before = take_fingerprint(uid)
    outcomes = _run_with_bait(profile, ablation, uid)
    if changed := await_unchanged(before, uid):
        raise Internal(f"The probes changed this host: {changed}.")
    return outcomes


def _run_with_bait(profile: Profile, ablation: str, uid: int | None) -> dict[str, str]:
    with tempfile.TemporaryDirectory(prefix="pilotlight-check-") as name:
        folder = Path(name)
        for inner in ("work", "socket"):
            (folder / inner).mkdir()
        _plant(folder / "work")
        with lay_bait(folder / "socket", LIMITS) as bait:
            return _run(_describe(profile, folder, bait, uid), ablation, bait)


def _describe(profile: Profile, folder: Path, bait: Bait, uid: int | None) -> LaunchSpec:
    runner = profile == "runner"
    return LaunchSpec(
        session="conformance",
        profile=profile,
        workspace=folder / "work" if runner else None,
        socket_directory=folder / "socket" if runner else None,
        module="runner.sandbox.conformance.inside",
        arguments=[profile, json.dumps(asdict(bait))],
        uid=uid,
        limits=LIMITS,
    )


def _run(spec: LaunchSpec, ablation: str, bait: Bait) -> dict[str, str]:
    command = stage_command("runner.sandbox.conformance.stage", spec, prepare_host(spec))
    with _terminal() as terminal:
        done = subprocess.run(
            [*command, ablation, json.dumps(asdict(bait)), str(terminal)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env={},
            cwd="/",
            pass_fds=[terminal],
            start_new_session=True,
            timeout=_TIMEOUT_SECONDS,
            check=False,
        )
    if done.returncode != 0:
        raise FailedPrecondition(done.stderr.decode(errors="replace").strip() or f"exit code {done.returncode}")
    return json.loads(done.stdout)


@contextmanager
def _terminal() -> Generator[int]:
    """A terminal of our own, to be the controlling one outside: a sandbox without one would have nothing to lose."""
    controller, terminal = pty.openpty()
    try:
        yield terminal
    finally:
        os.close(terminal)
        os.close(controller)


def _plant(workspace: Path) -> None:
    for name, file in PLANTS.items():
        path = workspace / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"import builtins; builtins.planted = (*getattr(builtins, 'planted', ()), {name!r})\n")
