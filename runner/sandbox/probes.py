"""Run inside the sandbox: try what must not work, print one JSON object of {probe: outcome}.

Every probe is harmless when it succeeds: bad pointers, signal 0, a closed port, a file of our own.
"""

import ctypes
import errno
import json
import os
import platform
import socket
from collections.abc import Callable
from pathlib import Path

from runner.sandbox.seccomp import MACHINES

BLOCKED = "blocked"
_LIBC = ctypes.CDLL(None, use_errno=True)
_NEW_USER = 0x10000000


def _refuses(number: int, *arguments: int) -> str:
    """A refused call fails with EPERM or ENOSYS before it looks at its (invalid) arguments."""
    ctypes.set_errno(0)
    result = _LIBC.syscall(ctypes.c_long(number), *(ctypes.c_long(argument) for argument in arguments))
    error = ctypes.get_errno()
    return (
        BLOCKED if result == -1 and error in (errno.EACCES, errno.ENOSYS) else f"reached ({errno.errorcode.get(error)})"
    )


def _raises(act: Callable[[], object]) -> str:
    try:
        act()
    except OSError:
        return BLOCKED
    return "reached"


def _hidden(path: str) -> str:
    return f"{path} is visible" if Path(path).exists() else BLOCKED


def _capabilities() -> str:
    lines = Path("/proc/self/status").read_text().splitlines()
    sets = [line.split()[1] for line in lines if line.startswith("Cap")]
    return BLOCKED if sets and all(int(value, 16) == 0 for value in sets) else f"capabilities {sets}"


def _environment() -> str:
    allowed = {"PATH", "LANG", "HOME", "TZ", "PYTHONUNBUFFERED", "LD_LIBRARY_PATH", "PWD"}
    other = set(os.environ) - allowed
    parent = Path("/proc/1/environ").read_bytes()
    return BLOCKED if not other and not parent.strip(b"\0") else f"environment shows {sorted(other)} {parent[:60]!r}"


def _processes() -> str:
    count = sum(1 for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return BLOCKED if count <= 4 else f"{count} processes are visible"


def _interfaces() -> str:
    names = [line.split(":")[0].strip() for line in Path("/proc/net/dev").read_text().splitlines()[2:]]
    return BLOCKED if set(names) <= {"lo"} else f"interfaces {names}"


def run_probes() -> dict[str, str]:
    """Outcome per probe: "blocked", or what was reached."""
    calls = MACHINES[platform.machine()].refused
    outcomes = {
        "capabilities": _capabilities(),
        "environment": _environment(),
        "process namespace": _processes(),
        "network namespace": _interfaces(),
        "internet socket": _raises(lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM)),
        "netlink socket": _raises(lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)),
        "write to the root": _raises(lambda: Path("/probe").write_text("x")),
        "write to /usr": _raises(lambda: Path("/usr/probe").write_text("x")),
        "write to the code": _raises(lambda: Path("/opt/app/runner/probe").write_text("x")),
        "write to the socket folder": _raises(lambda: Path("/run/gateway/probe").write_text("x")),
        "host accounts": _hidden("/etc/passwd"),
        "host homes": _hidden("/home"),
        "host root's home": _hidden("/root"),
        "host variable data": _hidden("/var"),
        "user ID 0": _raises(lambda: os.setuid(0)),
        "new user namespace (clone)": _refuses(MACHINES[platform.machine()].clone, _NEW_USER | 0xFF00, 0, 0, 0, 0),
    }
    outcomes |= {f"call {name}": _refuses(number, -1, 0, -1, 0, 0) for name, number in calls.items()}
    return outcomes


if __name__ == "__main__":
    print(json.dumps(run_probes()))  # noqa: T201 - standard output is the result
