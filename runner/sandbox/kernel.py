"""System calls that the standard library lacks, by their name in the C library."""

import ctypes
import os
import struct

PR_SET_PDEATHSIG, PR_CAPBSET_READ, PR_CAPBSET_DROP, PR_SET_CHILD_SUBREAPER = 1, 23, 24, 36
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP = 38, 22
_FILTER_MODE = 2
_CAPABILITY_V3 = 0x20080522
LIBC = ctypes.CDLL(None, use_errno=True)


def call(name: str, *arguments: int) -> None:
    """Raises OSError when the call does not return 0."""
    if getattr(LIBC, name)(*(ctypes.c_ulong(argument) for argument in arguments)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}{arguments}: {os.strerror(number)}")


def drop_bounding() -> None:
    """Empty the bounding set: no capability comes back through a program."""
    for capability in range(64):
        if LIBC.prctl(PR_CAPBSET_READ, capability, 0, 0, 0) == 1:
            call("prctl", PR_CAPBSET_DROP, capability, 0, 0, 0)


def drop_capabilities() -> None:
    """Empty the effective, permitted and inheritable sets, and with them the ambient one."""
    header, none = (ctypes.c_uint32 * 2)(_CAPABILITY_V3, 0), (ctypes.c_uint32 * 6)()
    call("capset", ctypes.addressof(header), ctypes.addressof(none))


def set_filter(program: bytes) -> None:
    """Refuse system calls from now on; `program` is an array of `struct sock_filter`."""
    buffer = ctypes.create_string_buffer(program, len(program))
    header = ctypes.create_string_buffer(struct.pack("@HP", len(program) // 8, ctypes.addressof(buffer)))
    call("prctl", PR_SET_SECCOMP, _FILTER_MODE, ctypes.addressof(header), 0, 0)
