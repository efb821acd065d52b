"""The launcher on this host: what it starts, and that nothing starts without protections."""

import asyncio
import os
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from pilotlight.errors import FailedPrecondition
from runner.sandbox.bwrap import build_command, list_binds
from runner.sandbox.launch import prepare
from runner.sandbox.seccomp import MACHINES, compile_filter
from runner.sandbox.spec import LaunchSpec
from tests.fixtures.sandbox import run_inside


def run(spec: LaunchSpec) -> tuple[int | None, str, str]:
    return asyncio.run(run_inside(spec))


def test_module_runs_in_the_workspace_and_only_there(spec: LaunchSpec) -> None:
    code, output, complaint = run(replace(spec, module="platform"))
    assert (code, complaint) == (0, "")
    assert output.startswith("Linux")


def test_root_without_a_uid_to_drop_to_is_refused(spec: LaunchSpec) -> None:
    if os.getuid() != 0:
        assert prepare(spec)
        return
    with pytest.raises(FailedPrecondition, match="user ID"):
        prepare(replace(spec, uid=None))


def test_workspace_belongs_to_the_session_and_host_is_unchanged(spec: LaunchSpec) -> None:
    before = Path("/proc/self/mounts").read_text()
    run(replace(spec, module="platform"))
    assert Path("/proc/self/mounts").read_text() == before
    assert spec.workspace is not None
    assert spec.workspace.stat().st_uid == (spec.uid or os.getuid())


def test_boot_refuses_to_run_unconfined() -> None:
    boot = Path(__file__).parents[3] / "runner/sandbox/boot.py"
    done = subprocess.run(
        [sys.executable, "-I", str(boot), "", "platform"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "not closed" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("flag", "arguments"),
    [("--cap-drop", 2), ("--remount-ro", 2), ("--disable-userns", 1), ("--new-session", 1), ("--unshare-net", 1)],
)
def test_command_carries_the_protection(spec: LaunchSpec, flag: str, arguments: int) -> None:
    command = build_command("/usr/bin/bwrap", list_binds(spec), spec, 9)
    assert flag in command
    assert len(command[command.index(flag) :]) > arguments


@pytest.mark.parametrize("machine", list(MACHINES))
def test_filter_is_well_formed(machine: str) -> None:
    program = compile_filter(machine)
    steps = [struct.unpack("=HBBI", program[at : at + 8]) for at in range(0, len(program), 8)]
    assert len(steps) < 4096
    for index, (code, if_true, if_false, _) in enumerate(steps):
        if code & 0x07 == 0x05:
            assert index + 1 + max(if_true, if_false) < len(steps), "a jump leaves the program"
    assert steps[-1][0] == 0x06
