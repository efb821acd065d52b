"""net, ipc and tty: ways to talk to whoever is outside, all of them to listeners of our own."""

import ctypes
import errno
import os
import socket
from collections.abc import Callable
from pathlib import Path

from runner.sandbox.conformance.probe import BLOCKED, Act, Bait, Probe, attempt, probe, reached
from runner.sandbox.seccomp import REFUSED

_IPC_STAT = 2
_LIBC = ctypes.CDLL(None, use_errno=True)
_NOBODY = (REFUSED, errno.ENOENT, errno.ECONNREFUSED)


def list_probes() -> list[Probe]:
    """Everything about the network, System V and POSIX objects, other processes by number, and the terminal."""
    return [
        probe("net.tcp", lambda bait: _connects(socket.AF_INET, ("127.0.0.1", bait.tcp_port)), "net+seccomp"),
        probe("net.udp", lambda bait: _asks_udp(bait.udp_port), "net+seccomp"),
        probe("net.listen", lambda _: _listens(), "seccomp"),
        probe("net.gateway", _connects_gateway, evaluator="socket+seccomp", known="the one way out of a runner"),
        probe("ipc.abstract_socket", _connects_abstract, runner="net", evaluator="net+seccomp"),
        probe("ipc.host_socket", _connects_host, runner="wide", evaluator="wide+seccomp"),
        probe("ipc.shared_memory", lambda bait: _system_v("shmctl", bait.shared_memory, _IPC_STAT), "ipc"),
        probe("ipc.message_queue", lambda bait: _system_v("msgctl", bait.messages, _IPC_STAT), "ipc"),
        probe("ipc.semaphores", lambda bait: _system_v("semctl", bait.semaphores, 0, _IPC_STAT), "ipc"),
        probe("ipc.posix_queue", _opens_queue, "ipc"),
        probe("ipc.dev_shm", lambda bait: reached() if Path(bait.shm_file).exists() else BLOCKED, "shm"),
        *(probe(f"ipc.{name}", _asks_process(act), "pid") for name, act in _PROCESS_QUESTIONS.items()),
        probe("tty.open", lambda _: attempt(lambda: os.close(os.open("/dev/tty", os.O_RDWR)), errno.ENXIO), "session"),
        probe("tty.session", lambda _: BLOCKED if os.getsid(0) else reached("the session outside"), "session"),
    ]


_PROCESS_QUESTIONS: dict[str, Callable[[int], object]] = {
    "signal": lambda pid: os.kill(pid, 0),
    "process_group": os.getpgid,
    "session_of": os.getsid,
    "affinity": os.sched_getaffinity,
    "priority": lambda pid: os.getpriority(os.PRIO_PROCESS, pid),
    "pidfd": lambda pid: os.close(os.pidfd_open(pid)),
}


def _asks_process(ask: Callable[[int], object]) -> Act:
    def answer(pid: int) -> object:
        try:
            return ask(pid)
        except PermissionError:
            return "it exists"

    return lambda bait: attempt(lambda: answer(bait.pid), errno.ESRCH)


def _connects(family: int, address: tuple[str, int] | str) -> str:
    def connect() -> str:
        with socket.socket(family) as client:
            client.settimeout(5)
            client.connect(address)
        return "a listener"

    return attempt(connect, *_NOBODY)


def _connects_gateway(bait: Bait) -> str:
    return _connects(socket.AF_UNIX, "/run/gateway/gateway.sock")


def _connects_abstract(bait: Bait) -> str:
    return _connects(socket.AF_UNIX, f"\0{bait.abstract}")


def _connects_host(bait: Bait) -> str:
    return _connects(socket.AF_UNIX, bait.socket)


def _asks_udp(port: int) -> str:
    def ask() -> str:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(5)
            client.connect(("127.0.0.1", port))
            client.send(b"?")
            return client.recv(10).decode()

    return attempt(ask, *_NOBODY)


def _listens() -> str:
    def listen() -> str:
        with socket.socket() as server:
            server.bind(("127.0.0.1", 0))
            server.listen()
        return "a port of the sandbox itself"

    return attempt(listen, REFUSED)


def _system_v(name: str, *arguments: int) -> str:
    """Ask for the state of an object by its number."""
    state = ctypes.create_string_buffer(512)

    def ask() -> None:
        if getattr(_LIBC, name)(*arguments, state) == -1:
            raise OSError(ctypes.get_errno(), name)

    return attempt(ask, errno.EINVAL)


def _opens_queue(bait: Bait) -> str:
    def ask() -> None:
        if (queue := _LIBC.mq_open(bait.queue.encode(), os.O_RDONLY)) == -1:
            raise OSError(ctypes.get_errno(), "mq_open")
        os.close(queue)

    return attempt(ask, errno.ENOENT)
