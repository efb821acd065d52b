"""The system-call filter, compiled to classic BPF: a closed list of refusals on top of the namespaces.

Refused calls return EACCES, an error that the kernel itself gives for none of them: so a test can tell that the filter
refused, and not a missing capability behind it. clone3 returns ENOSYS, so that libc falls back to clone, whose flags
can be read. A foreign architecture kills the process: its call numbers would mean something else.
"""

import errno
import platform
import struct
from collections.abc import Iterable
from typing import NamedTuple

_LOAD, _JEQ, _JGE, _JSET, _RET = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_NR, _ARCH, _ARG0, _ARG1 = 0, 4, 16, 24
X32_BIT = 0x40000000
_AF_UNIX = 1
NAMESPACES = {
    "mnt": 0x00020000, "cgroup": 0x02000000, "uts": 0x04000000, "ipc": 0x08000000, "user": 0x10000000,
    "pid": 0x20000000, "net": 0x40000000,
}  # fmt: skip
"""The CLONE_NEW* flags that clone accepts."""
TIOCSTI, TIOCLINUX = 0x5412, 0x541C
REFUSED, GONE = errno.EACCES, errno.ENOSYS
"""What a refused call fails with, and what clone3 fails with."""


class Machine(NamedTuple):
    """An architecture: its audit number and the numbers of the calls we name."""

    audit: int
    clone: int
    clone3: int
    socket: int
    ioctl: int
    refused: dict[str, int]


_COMMON_HIGH = {  # numbers shared by all architectures since Linux 5.1
    "pidfd_getfd": 438, "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "open_tree": 428,
    "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433, "mount_setattr": 442,
    "quotactl_fd": 443, "memfd_secret": 447, "process_madvise": 440, "statmount": 457, "listmount": 458,
    "open_tree_attr": 467,
}  # fmt: skip
_X86_64 = Machine(0xC000003E, 56, 435, 41, 16, _COMMON_HIGH | {
    "ptrace": 101, "process_vm_readv": 310, "process_vm_writev": 311, "kcmp": 312, "bpf": 321, "perf_event_open": 298,
    "userfaultfd": 323, "add_key": 248, "request_key": 249, "keyctl": 250, "mount": 165, "umount2": 166,
    "pivot_root": 155, "chroot": 161, "unshare": 272, "setns": 308, "kexec_load": 246, "kexec_file_load": 320,
    "init_module": 175, "finit_module": 313, "delete_module": 176, "open_by_handle_at": 304, "name_to_handle_at": 303,
    "fanotify_init": 300, "quotactl": 179, "personality": 135, "acct": 163, "swapon": 167, "swapoff": 168,
    "reboot": 169, "sethostname": 170, "setdomainname": 171, "iopl": 172, "ioperm": 173, "settimeofday": 164,
    "clock_settime": 227, "clock_adjtime": 305, "adjtimex": 159, "syslog": 103, "vhangup": 153, "mknod": 133,
    "mknodat": 259, "lookup_dcookie": 212, "modify_ldt": 154, "uselib": 134, "sysfs": 139, "migrate_pages": 256,
    "move_pages": 279,
})  # fmt: skip
_AARCH64 = Machine(0xC00000B7, 220, 435, 198, 29, _COMMON_HIGH | {
    "ptrace": 117, "process_vm_readv": 270, "process_vm_writev": 271, "kcmp": 272, "bpf": 280, "perf_event_open": 241,
    "userfaultfd": 282, "add_key": 217, "request_key": 218, "keyctl": 219, "mount": 40, "umount2": 39,
    "pivot_root": 41, "chroot": 51, "unshare": 97, "setns": 268, "kexec_load": 104, "kexec_file_load": 294,
    "init_module": 105, "finit_module": 273, "delete_module": 106, "open_by_handle_at": 265, "name_to_handle_at": 264,
    "fanotify_init": 262, "quotactl": 60, "personality": 92, "acct": 89, "swapon": 224, "swapoff": 225, "reboot": 142,
    "sethostname": 161, "setdomainname": 162, "settimeofday": 170, "clock_settime": 112, "clock_adjtime": 266,
    "adjtimex": 171, "syslog": 116, "vhangup": 58, "mknodat": 33, "migrate_pages": 238, "move_pages": 239,
})  # fmt: skip
MACHINES = {"x86_64": _X86_64, "aarch64": _AARCH64}


def compile_filter(machine: str = "", *, unix_sockets: bool = True) -> bytes:
    """The filter of this (or the named) architecture: an array of `struct sock_filter`. Raises KeyError if unknown.

    Without `unix_sockets` no socket of any family can be made.
    """
    target = MACHINES[machine or platform.machine()]
    deny, gone = _op(_RET, _ERRNO | REFUSED), _op(_RET, _ERRNO | GONE)
    program = [_op(_LOAD, _ARCH), _op(_JEQ, target.audit, 1, 0), _op(_RET, _KILL), _op(_LOAD, _NR)]
    if target is _X86_64:
        program += [_op(_JGE, X32_BIT, 0, 1), deny]
    program += [_op(_JEQ, target.clone3, 0, 1), gone]
    for number in sorted(target.refused.values()):
        program += [_op(_JEQ, number, 0, 1), deny]
    program += _guard(target.clone, [_op(_LOAD, _ARG0), _op(_JSET, sum(NAMESPACES.values()), 0, 1), deny])
    families = [_op(_LOAD, _ARG0), _op(_JEQ, _AF_UNIX, 1, 0)] if unix_sockets else []
    program += _guard(target.socket, [*families, deny])
    # The kernel reads 32 bits of an ioctl request; so do we (CVE-2019-7303 compared 64).
    requests = [_op(_LOAD, _ARG1), _op(_JEQ, TIOCSTI, 1, 0), _op(_JEQ, TIOCLINUX, 0, 1), deny]
    program += _guard(target.ioctl, requests)
    return b"".join([*program, _op(_RET, _ALLOW)])


def _op(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)


def _guard(number: int, body: Iterable[bytes]) -> list[bytes]:
    """Run `body` only for call `number`, then reload the call number for the next test."""
    steps = [*body, _op(_LOAD, _NR)]
    return [_op(_JEQ, number, 0, len(steps)), *steps]
