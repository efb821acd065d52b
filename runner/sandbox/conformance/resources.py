"""resource: limits, tried a little beyond what the launch allows."""

import errno
import mmap
import os
import resource
import signal
import threading
from contextlib import ExitStack
from pathlib import Path

from runner.sandbox.conformance.probe import BLOCKED, Act, Bait, Probe, attempt, probe, reached

_BLOCK = 1 << 20


def list_probes() -> list[Probe]:
    """Everything about limits."""
    return [
        probe("resource.address_space", _maps, "limits"),
        probe("resource.open_files", _opens, "limits"),
        probe("resource.processes", _forks, "limits"),
        probe("resource.threads", _starts_threads, "limits"),
        probe("resource.file_in_work", _extends("/work"), "limits"),
        probe("resource.file_in_tmp", _extends("/tmp"), "limits"),
        probe("resource.cpu", _bounded(resource.RLIMIT_CPU, "cpu_seconds"), "limits"),
        probe("resource.core", _bounded(resource.RLIMIT_CORE, ""), "limits"),
        probe("resource.tmpfs_tmp", _fills("/tmp"), "size"),
        probe("resource.tmpfs_shm", _fills("/dev/shm"), "size"),
        probe("resource.tmpfs_work", _fills("/work"), evaluator="size"),
    ]


def _maps(bait: Bait) -> str:
    """Reserve address space without touching it."""
    size = bait.limits["address_space_bytes"]
    return attempt(lambda: mmap.mmap(-1, size, prot=mmap.PROT_READ).close(), errno.ENOMEM)


def _opens(bait: Bait) -> str:
    def open_many() -> None:
        with ExitStack() as stack:
            for _ in range(bait.limits["open_files"]):
                stack.enter_context(Path("/dev/null").open("rb"))

    return attempt(open_many, errno.EMFILE)


def _forks(bait: Bait) -> str:
    children: list[int] = []

    def fork_many() -> None:
        for _ in range(bait.limits["processes"]):
            if (child := os.fork()) == 0:
                signal.pause()
            children.append(child)

    try:
        return attempt(fork_many, errno.EAGAIN)
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def _starts_threads(bait: Bait) -> str:
    done = threading.Event()
    threads = [threading.Thread(target=done.wait) for _ in range(bait.limits["processes"])]
    started: list[threading.Thread] = []
    try:
        for thread in threads:
            thread.start()
            started.append(thread)
    except RuntimeError:
        return BLOCKED
    finally:
        done.set()
        for thread in started:
            thread.join()
    return reached(f"{len(started)} threads")


def _extends(folder: str) -> Act:
    """Write one byte beyond the largest size, which leaves a sparse file of our own."""

    def act(bait: Bait) -> str:
        path = Path(folder, "sparse")
        with path.open("wb") as file:
            file.seek(bait.limits["file_bytes"])
            outcome = attempt(lambda: os.pwrite(file.fileno(), b"x", bait.limits["file_bytes"]), errno.EFBIG)
        path.unlink()
        return outcome

    return act


def _bounded(limit: int, name: str) -> Act:
    def act(bait: Bait) -> str:
        most, (_, hard) = bait.limits.get(name, 0), resource.getrlimit(limit)
        return BLOCKED if hard != resource.RLIM_INFINITY and hard <= most else reached(hard)

    return act


def _fills(folder: str) -> Act:
    def act(bait: Bait) -> str:
        paths = [Path(folder, f"block{index}") for index in range(bait.limits["tmpfs_bytes"] // _BLOCK + 1)]
        try:
            return attempt(lambda: [path.write_bytes(bytes(_BLOCK)) for path in paths] and None, errno.ENOSPC)
        finally:
            for path in paths:
                path.unlink(missing_ok=True)

    return act
