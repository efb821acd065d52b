"""System calls that the filter refuses before the kernel looks at their arguments, which are all invalid."""

import ctypes
import errno
import mmap
import os
import platform
import signal

from runner.sandbox.conformance.probe import BLOCKED, Act, Probe, probe, reached
from runner.sandbox.seccomp import GONE, MACHINES, NAMESPACES, REFUSED, TIOCLINUX, TIOCSTI, X32_BIT

_LIBC = ctypes.CDLL(None, use_errno=True)
_CLONE_THREAD = 0x10000  # without CLONE_SIGHAND it is invalid, so that no flag beside it takes effect
_NO_DESCRIPTOR = -1
_FAMILIES = {
    "inet": 2, "ax25": 3, "ipx": 4, "appletalk": 5, "x25": 9, "inet6": 10, "key": 15, "netlink": 16, "packet": 17,
    "rds": 21, "pppox": 24, "llc": 26, "mpls": 28, "can": 29, "tipc": 30, "bluetooth": 31, "rxrpc": 33, "phonet": 35,
    "caif": 37, "alg": 38, "nfc": 39, "vsock": 40, "kcm": 41, "qipcrtr": 42, "smc": 43, "xdp": 44, "mctp": 45,
}  # fmt: skip
_NO_TYPE = 15  # refused before the kernel would load a module for the family
_FAMILY_OF_CALL = {
    "mnt": "mount umount2 pivot_root chroot open_tree open_tree_attr move_mount fsopen fsconfig fsmount fspick "
    "mount_setattr open_by_handle_at name_to_handle_at statmount listmount mknod mknodat",
    "ns": "unshare setns",
    "ipc": "ptrace process_vm_readv process_vm_writev process_madvise pidfd_getfd kcmp add_key request_key keyctl",
    "tty": "vhangup",
}


def list_probes() -> list[Probe]:
    """One probe per refused call, clone flag, socket family and terminal request of this architecture."""
    machine = MACHINES[platform.machine()]
    family = {name: family for family, names in _FAMILY_OF_CALL.items() for name in names.split()}
    calls = [
        probe(f"{family.get(name, 'kern')}.{name}", _call(number, -1, 0, -1, 0, 0), "seccomp")
        for name, number in machine.refused.items()
    ]
    clones = [
        probe(f"ns.clone_{name}", _call(machine.clone, flag | _CLONE_THREAD, 0, 0, 0, 0), "seccomp")
        for name, flag in NAMESPACES.items()
    ]
    sockets = [
        probe(f"net.socket_{name}", _call(machine.socket, number, _NO_TYPE, 0), "seccomp")
        for name, number in _FAMILIES.items()
    ]
    sockets.append(probe("net.socket_unix", _call(machine.socket, 1, _NO_TYPE, 0), evaluator="seccomp"))
    requests = {"tiocsti": TIOCSTI, "tiocsti_high_bits": TIOCSTI | 1 << 32, "tioclinux": TIOCLINUX}
    terminal = [
        probe(f"tty.{name}", _call(machine.ioctl, _NO_DESCRIPTOR, value, 0), "seccomp")
        for name, value in requests.items()
    ]
    clone3 = probe("ns.clone3", _call(machine.clone3, 0, 0, expected=GONE), "seccomp")
    return [*calls, *clones, clone3, *sockets, *terminal, *_list_x86()]


def _call(number: int, *arguments: int, expected: int = REFUSED) -> Act:
    def act(_bait: object) -> str:
        ctypes.set_errno(0)
        result = _LIBC.syscall(ctypes.c_long(number), *(ctypes.c_long(argument) for argument in arguments))
        error = ctypes.get_errno()
        refused = result == -1 and error == expected
        return BLOCKED if refused else reached(f"the kernel: {errno.errorcode.get(error, result)}")

    return act


def _list_x86() -> list[Probe]:
    if platform.machine() != "x86_64":
        return []
    getpid = 39
    return [
        probe("kern.x32_abi", _call(getpid | X32_BIT), "seccomp"),
        probe("kern.i386_abi", lambda _: _try_i386(), "seccomp"),
    ]


def _try_i386() -> str:
    """getpid by `int 0x80`, in a child that the filter is to kill."""
    child = os.fork()
    if child == 0:
        code = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        code.write(bytes.fromhex("b814000000cd80c3"))
        ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))()
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return BLOCKED if number == signal.SIGSYS else f"error {signal.Signals(number).name}"
    return reached("the i386 table of calls")
