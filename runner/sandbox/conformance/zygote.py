"""The zygote of the conformance suite: as in production, with something to lose and protections to take away."""

import ctypes
import os
import signal
import socket
from typing import Any

from runner.sandbox.conformance.ablations import ablate_way
from runner.sandbox.conformance.legacy import KEY, KEYCTL_JOIN, SECRET, SESSION_KEYRING, call_keyctl
from runner.sandbox.conformance.probe import Bait
from runner.sandbox.seccomp import MACHINES
from runner.sandbox.zygote.keeper import Run, keep
from runner.sandbox.zygote.process import read_job, serve_runners

_GROUP = 60_000
"""A supplementary group that nobody is meant to be in."""


def main(link: socket.socket, hello: dict[str, Any]) -> None:
    """As runner.sandbox.zygote.process; `hello` names a terminal, and each request an ablation and the bait."""
    os.close(os.open(hello["terminal"], os.O_RDWR))  # it is this session's from now on
    os.umask(0)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
    _keep_key()
    if os.getuid() == 0:
        os.setgroups([_GROUP])
    if run := serve_runners(link, hello, _become):
        run()


def _become(request: dict[str, Any], descriptors: list[int]) -> Run:
    return keep(read_job(request, descriptors), ablate_way(request["ablation"], Bait(**request["bait"])))


def _keep_key() -> None:
    """In a session keyring of this process alone."""
    call_keyctl(KEYCTL_JOIN, None)
    number = ctypes.c_long(MACHINES[os.uname().machine].refused["add_key"])
    if ctypes.CDLL(None).syscall(number, b"user", KEY, SECRET, len(SECRET), ctypes.c_long(SESSION_KEYRING)) == -1:
        raise OSError("add_key failed")
