"""First code inside the sandbox: refuse to go on unless it is confined, then run the module.

Run as a script with `python -I -B boot.py PROFILE PROCESSES PATHS MODULE [ARGUMENT...]`; standard library only. It asks
the kernel, not /proc, which an evaluator does not have.
"""

import ctypes
import os
import platform
import resource
import runpy
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

_PR_GET_SECCOMP, _PR_CAPBSET_READ, _PR_GET_NO_NEW_PRIVS, _PR_CAP_AMBIENT, _IS_SET = 21, 23, 39, 47, 1
_CAPABILITY_V3 = 0x20080522
_LIBC = ctypes.CDLL(None, use_errno=True)


def list_gaps(profile: str) -> list[str]:
    """What is not closed: capabilities, the filter, new privileges, the user ID, the network, an evaluator's /proc."""
    gaps = [f"{name} capabilities are left" for name, held in read_capabilities().items() if held]
    if _LIBC.prctl(_PR_GET_SECCOMP, 0, 0, 0, 0) != 2:
        gaps.append("the system-call filter is off")
    if _LIBC.prctl(_PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1:
        gaps.append("new privileges can be gained")
    if os.getuid() == 0:
        gaps.append("the user ID is 0")
    evaluator = profile == "evaluator"
    gaps += [f"{family.name} sockets can be made" for family in _open_families(evaluator)]
    if evaluator and Path("/proc/self").exists():
        gaps.append("/proc is visible")
    return gaps


def read_capabilities() -> dict[str, int]:
    """The five capability sets of this process as bit masks."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_V3, 0)
    data = (ctypes.c_uint32 * 6)()
    if _LIBC.capget(header, data) != 0:
        raise OSError(ctypes.get_errno(), "capget failed")
    names = ("effective", "permitted", "inheritable")
    sets = {name: data[index] | data[index + 3] << 32 for index, name in enumerate(names)}
    # A capability that the kernel does not know answers -1.
    sets["bounding"] = sum(1 << bit for bit in range(64) if _LIBC.prctl(_PR_CAPBSET_READ, bit, 0, 0, 0) == 1)
    sets["ambient"] = sum(1 << bit for bit in range(64) if _LIBC.prctl(_PR_CAP_AMBIENT, _IS_SET, bit, 0, 0) == 1)
    return sets


def limit_processes(most: int) -> None:
    """Bound processes and threads of this sandbox; older kernels would count those of the user ID on the whole host."""
    if tuple(int(part) for part in platform.release().split("-")[0].split(".")[:2]) >= (5, 14):
        resource.setrlimit(resource.RLIMIT_NPROC, (most, most))


def _open_families(evaluator: bool) -> Iterator[socket.AddressFamily]:
    for family in (socket.AF_INET, socket.AF_NETLINK, *([socket.AF_UNIX] if evaluator else [])):
        try:
            socket.socket(family, socket.SOCK_RAW if family == socket.AF_NETLINK else socket.SOCK_STREAM).close()
        except PermissionError:
            continue
        yield family


def main() -> None:
    """Check, set the import path, run the module as __main__."""
    if gaps := list_gaps(sys.argv[1]):
        sys.exit(f"The sandbox is not closed, so nothing is run in it: {'; '.join(gaps)}. Run `pilotlight doctor`.")
    processes, paths, module, *arguments = sys.argv[2:]
    limit_processes(int(processes))
    sys.path.extend(paths.split(":"))
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
