"""What the host holds ready for the probes to reach: listeners, objects and a file, all of our own, gone afterwards."""

import ctypes
import hashlib
import os
import secrets
import shutil
import socket
import tempfile
import threading
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

from runner.sandbox.conformance.probe import Bait
from runner.sandbox.spec import Limits

_LIBC = ctypes.CDLL(None, use_errno=True)
MARK = 12
"""Characters of a hidden secret that its seekers may know."""
_PRIVATE, _REMOVE, _MODE = 0, 0, 0o666


@contextmanager
def lay_bait(gateway: Path, limits: Limits, hidden: str) -> Generator[Bait]:
    """Everything a Bait names, until the end of the block. `gateway` is the folder that the runner is given.

    `hidden` stays outside: a bait has its beginning and its SHA-256 only.
    """
    with ExitStack() as stack:
        token = secrets.token_hex(8)
        folder = Path(tempfile.mkdtemp(prefix="pilotlight-bait-", dir="/var/tmp"))  # /tmp is hidden in every sandbox
        stack.callback(shutil.rmtree, folder)
        folder.chmod(0o755)
        canary = folder / "canary"
        canary.write_text(token)
        canary.chmod(0o644)
        shm = Path(f"/dev/shm/pilotlight-{token}")
        shm.touch()
        stack.callback(shm.unlink)
        name = f"pilotlight-{token}"
        _serve(stack, _unix(str(folder / "host.sock")), folder)
        _serve(stack, _unix(str(gateway / "gateway.sock")), folder)
        _serve(stack, _unix(f"\0{name}"), folder)
        tcp, udp = socket.create_server(("127.0.0.1", 0)), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind(("127.0.0.1", 0))
        _serve(stack, tcp, None)
        _serve(stack, udp, None)
        yield Bait(
            pid=os.getpid(),
            hostname=os.uname().nodename,
            canary=str(canary),
            secret=token,
            tcp_port=tcp.getsockname()[1],
            udp_port=udp.getsockname()[1],
            abstract=name,
            socket=str(folder / "host.sock"),
            gateway=str(gateway),
            shared_memory=_object(stack, "shm", 4096, _MODE),
            semaphores=_object(stack, "sem", 1, _MODE),
            messages=_object(stack, "msg", _MODE),
            queue=_queue(stack, f"/{name}"),
            shm_file=str(shm),
            namespaces={entry.name: str(entry.readlink()) for entry in Path("/proc/self/ns").iterdir()},
            limits={key: int(value) for key, value in asdict(limits).items()},
            mark=hidden[:MARK],
            digest=hashlib.sha256(hidden.encode()).hexdigest(),
        )


def _unix(address: str) -> socket.socket:
    server = socket.socket(socket.AF_UNIX)
    server.bind(address)
    server.listen(64)
    if not address.startswith("\0"):
        Path(address).chmod(0o666)
    return server


def _serve(stack: ExitStack, server: socket.socket, folder: Path | None) -> None:
    """Answer in a thread: connections get a descriptor of `folder`, datagrams an echo."""
    thread = threading.Thread(target=_answer, args=(server, folder), daemon=True)
    thread.start()
    stack.callback(thread.join)
    stack.callback(server.close)
    stack.callback(_wake, server)


def _wake(server: socket.socket) -> None:
    """End the thread's wait: closing alone would not."""
    server.shutdown(socket.SHUT_RDWR) if server.type == socket.SOCK_STREAM else server.sendto(b"", server.getsockname())


def _answer(server: socket.socket, folder: Path | None) -> None:
    while True:
        try:
            if server.type == socket.SOCK_DGRAM:
                data, address = server.recvfrom(10)
                if not data:
                    return
                server.sendto(data, address)
                continue
            client, _ = server.accept()
        except OSError:  # shut down
            return
        with client, suppress(BrokenPipeError):  # a probe that only wanted to connect
            if folder:
                _hand_over(client, folder)


def _hand_over(client: socket.socket, folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        socket.send_fds(client, [b"x"], [descriptor])
    finally:
        os.close(descriptor)


def _object(stack: ExitStack, kind: str, *arguments: int) -> int:
    """A System V object, removed at the end of the block."""
    if (number := getattr(_LIBC, f"{kind}get")(_PRIVATE, *arguments)) == -1:
        raise OSError(ctypes.get_errno(), f"{kind}get failed")
    control = getattr(_LIBC, f"{kind}ctl")
    stack.callback(control, number, *((0, _REMOVE, 0) if kind == "sem" else (_REMOVE, None)))
    return number


def _queue(stack: ExitStack, name: str) -> str:
    if (queue := _LIBC.mq_open(name.encode(), os.O_CREAT | os.O_RDWR, 0o644, None)) == -1:
        raise OSError(ctypes.get_errno(), "mq_open failed")
    os.close(queue)
    stack.callback(_LIBC.mq_unlink, name.encode())
    return name
