"""Start a sandbox with bait around it and run the probes: as in production, or with protections taken away."""

import asyncio
import json
import os
import pty
import secrets
import subprocess
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Literal

from pilotlight.errors import FailedPrecondition, Internal
from runner.sandbox.bwrap import list_binds
from runner.sandbox.conformance.bait import lay_bait
from runner.sandbox.conformance.fingerprint import await_unchanged, take_fingerprint
from runner.sandbox.conformance.interpreter import PLANTS
from runner.sandbox.conformance.probe import Bait
from runner.sandbox.launch import prepare_host, stage_command
from runner.sandbox.spec import LaunchSpec, Limits
from runner.sandbox.zygote.client import Seed, Zygote

Kind = Literal["runner", "evaluator", "fork"]
"""A sandbox of either profile that is started as a program, or a runner that was forked into its room."""
LIMITS = Limits(
    address_space_bytes=2 << 30, cpu_seconds=60, open_files=64, processes=24, file_bytes=4 << 20, tmpfs_bytes=8 << 20
)
"""Small, so that going beyond them costs little."""
_TIMEOUT_SECONDS = 120
_Done = tuple[int, bytes, bytes]


def run_probes(kind: Kind, ablation: str, uid: int | None) -> dict[str, str]:
    """Outcome by probe. `ablation` is "" for the sandbox as it is; `uid` as in LaunchSpec.

    Raises FailedPrecondition when the sandbox does not start, Internal when the host is not afterwards what it was.
    """
    before = take_fingerprint(uid)
    outcomes = _run_with_bait(kind, ablation, uid)
    if changed := await_unchanged(before, uid):
        raise Internal(f"The probes changed this host: {changed}.")
    return outcomes


def _run_with_bait(kind: Kind, ablation: str, uid: int | None) -> dict[str, str]:
    hidden = secrets.token_hex(22)
    with tempfile.TemporaryDirectory(prefix="pilotlight-check-") as name, _terminal() as terminal:
        folder = Path(name)
        for inner in ("work", "socket"):
            (folder / inner).mkdir()
        _plant(folder / "work")
        with lay_bait(folder / "socket", LIMITS, hidden) as bait:
            spec = _describe(kind, folder, bait, uid)
            if kind == "fork":
                code, output, complaint = asyncio.run(_fork(spec, ablation, bait, hidden, os.ttyname(terminal)))
            else:
                code, output, complaint = _run(spec, ablation, bait, terminal)
    if code != 0:
        raise FailedPrecondition(complaint.decode(errors="replace").strip() or f"exit code {code}")
    return json.loads(output)


def _describe(kind: Kind, folder: Path, bait: Bait, uid: int | None) -> LaunchSpec:
    evaluator = kind == "evaluator"
    return LaunchSpec(
        session="conformance",
        profile="evaluator" if evaluator else "runner",
        workspace=None if evaluator else folder / "work",
        socket_directory=None if evaluator else folder / "socket",
        module="runner.sandbox.conformance.inside",
        arguments=[kind, json.dumps(asdict(bait))],
        uid=uid,
        limits=LIMITS,
    )


def _run(spec: LaunchSpec, ablation: str, bait: Bait, terminal: int) -> _Done:
    command = stage_command("runner.sandbox.conformance.stage", spec, prepare_host(spec))
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
    return done.returncode, done.stdout, done.stderr


async def _fork(spec: LaunchSpec, ablation: str, bait: Bait, hidden: str, terminal: str) -> _Done:
    zygote = Zygote(_plant_seed(spec, ablation.split("+"), [bait.secret, hidden], terminal))
    try:
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            process = await zygote.launch(spec, ablation=ablation, bait=asdict(bait))
            output, complaint = await process.communicate()
            return await process.wait(), output, complaint
    finally:
        await zygote.aclose()


def _plant_seed(spec: LaunchSpec, wanted: list[str], secret: list[str], terminal: str) -> Seed:
    """A zygote without the runner's libraries, which has something to lose."""
    seed = Seed(main="runner.sandbox.conformance.zygote", warm="", more={"terminal": terminal})
    if "env" in wanted:
        return replace(seed, environment=seed.environment | {"PILOTLIGHT_CANARY": " ".join(secret)})
    if "isolated" in wanted:
        variables = {"HOME": str(spec.workspace), "PYTHONPATH": str(spec.workspace)}
        return replace(seed, flags=(), environment=seed.environment | variables, binds=list_binds(spec))
    return seed


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
