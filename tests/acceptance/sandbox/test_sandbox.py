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
from tests.fixtures.sandbox import run_inside, with_code


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


def test_the_environment_of_the_caller_stays_outside(spec: LaunchSpec) -> None:
    """Not even the first process inside has it: /proc/1/environ would show what bubblewrap was started with."""
    command = prepare(with_code(spec, "import os; print(open('/proc/1/environ', 'rb').read(), sorted(os.environ))"))
    environment = {"PILOTLIGHT_PLATFORM_KEY": "canary", "LC_ALL": "C"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd="/")
    assert done.stdout.startswith("b'' ['HOME', 'LANG', "), done
    assert "canary" not in done.stdout


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


REFUSED = (
    "acct add_key adjtimex bpf chroot clock_adjtime clock_settime delete_module fanotify_init "
    "finit_module fsconfig fsmount fsopen fspick init_module io_uring_enter io_uring_register "
    "io_uring_setup kcmp kexec_file_load kexec_load keyctl listmount memfd_secret migrate_pages mknodat "
    "mount mount_setattr move_mount move_pages name_to_handle_at open_by_handle_at open_tree "
    "open_tree_attr perf_event_open personality pidfd_getfd pivot_root process_madvise process_vm_readv "
    "process_vm_writev ptrace quotactl quotactl_fd reboot request_key setdomainname sethostname setns "
    "settimeofday statmount swapoff swapon syslog umount2 unshare userfaultfd vhangup"
)
ON_X86 = "ioperm iopl lookup_dcookie mknod modify_ldt sysfs uselib"


def test_the_filter_refuses_what_it_is_said_to_refuse() -> None:
    """The probes follow the list of the filter; that nothing falls out of it is for this test to see."""
    assert set(MACHINES["aarch64"].refused) == set(REFUSED.split())
    assert set(MACHINES["x86_64"].refused) == set(REFUSED.split()) | set(ON_X86.split())


@pytest.mark.parametrize("machine", list(MACHINES))
def test_filter_is_well_formed(machine: str) -> None:
    program = compile_filter(machine)
    steps = [struct.unpack("=HBBI", program[at : at + 8]) for at in range(0, len(program), 8)]
    assert len(steps) < 4096
    for index, (code, if_true, if_false, _) in enumerate(steps):
        if code & 0x07 == 0x05:
            assert index + 1 + max(if_true, if_false) < len(steps), "a jump leaves the program"
    assert steps[-1][0] == 0x06
