"""priv and fd: capabilities, the filter itself, and descriptors that leaked in."""

import ctypes
import errno
import os
import resource
import socket
import stat
from pathlib import Path

from runner.sandbox.boot import read_capabilities
from runner.sandbox.conformance.probe import BLOCKED, Act, Bait, Probe, attempt, probe, reached
from runner.sandbox.seccomp import REFUSED

_PR_GET_SECCOMP, _FILTERED = 21, 2


def list_probes() -> list[Probe]:
    """Everything about privileges and descriptors."""
    sets = ("effective", "permitted", "inheritable", "bounding", "ambient")
    return [
        *(probe(f"priv.{name}", _capabilities(name), "caps") for name in sets),
        probe("priv.dac_override", lambda _: _override(), "caps"),
        probe("priv.no_filter", lambda _: _filter(), "seccomp"),
        probe("fd.inherited", lambda _: _inherited(), "leak"),
        probe("fd.directory", lambda _: _directories(), "leak"),
        probe("fd.read_leaked", _read_leaked, "leak"),
        probe("fd.scm_rights", _receive, runner="net", evaluator="net+seccomp"),
    ]


def _capabilities(name: str) -> Act:
    def act(_bait: Bait) -> str:
        held = read_capabilities()[name]
        return reached(hex(held)) if held else BLOCKED

    return act


def _override() -> str:
    path = Path("/tmp/closed")
    path.write_text("own")
    path.chmod(0)
    try:
        return attempt(path.read_text, errno.EACCES)
    finally:
        path.unlink()


def _filter() -> str:
    mode = ctypes.CDLL(None).prctl(_PR_GET_SECCOMP, 0, 0, 0, 0)
    return BLOCKED if mode == _FILTERED else reached(f"mode {mode}")


def _list_descriptors() -> list[int]:
    found: list[int] = []
    for descriptor in range(3, min(resource.getrlimit(resource.RLIMIT_NOFILE)[0], 1024)):
        try:
            os.fstat(descriptor)
        except OSError:
            continue
        found.append(descriptor)
    return found


def _inherited() -> str:
    found = _list_descriptors()
    return reached(found) if found else BLOCKED


def _directories() -> str:
    found = [descriptor for descriptor in (0, 1, 2, *_list_descriptors()) if _is_folder(descriptor)]
    return reached(found) if found else BLOCKED


def _is_folder(descriptor: int) -> bool:
    return stat.S_ISDIR(os.fstat(descriptor).st_mode)


def _read_leaked(bait: Bait) -> str:
    for descriptor in filter(_is_folder, _list_descriptors()):
        if _read_in(descriptor, bait) == bait.secret:
            return reached("the canary")
    return BLOCKED


def _read_in(folder: int, bait: Bait) -> str:
    file = os.open(Path(bait.canary).name, os.O_RDONLY, dir_fd=folder)
    try:
        return os.read(file, 100).decode()
    finally:
        os.close(file)


def _receive(bait: Bait) -> str:
    """Take a descriptor of a host folder from whoever listens on an abstract socket of the host."""

    def receive() -> str:
        with socket.socket(socket.AF_UNIX) as courier:
            courier.settimeout(5)
            courier.connect(f"\0{bait.abstract}")
            _, descriptors, _, _ = socket.recv_fds(courier, 1, 1)
        try:
            return _read_in(descriptors[0], bait)
        finally:
            os.close(descriptors[0])

    return attempt(receive, errno.ECONNREFUSED, REFUSED)
