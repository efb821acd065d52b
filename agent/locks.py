"""Which worker processes of this machine are alive: each holds a lock on a file of its own as long as it exists.

The kernel frees the lock at any kind of end. A stopped process (SIGSTOP) still holds it: it is not dead, only late.
"""

import fcntl
import os
import secrets
from contextlib import suppress
from pathlib import Path

from agent.leases import Holder

_SUFFIX = ".lock"


class WorkerLock:
    """The lock of this process's worker, from its construction to `close`. Its file is left to `remove_dead`."""

    def __init__(self, home: Path) -> None:
        machine = read_machine(home)
        self.holder = Holder(f"{machine[:8]}-{os.getpid()}-{secrets.token_hex(3)}", machine)
        path = _folder(home) / (self.holder.worker + _SUFFIX)
        part = path.with_suffix(".part")
        self._file = os.open(part, os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(self._file, fcntl.LOCK_EX)
        part.rename(path)  # locked before it has its name: nobody finds it free

    def close(self) -> None:
        """Say that this worker has ended."""
        os.close(self._file)


def is_dead(home: Path, worker: str) -> bool:
    """Whether this worker of this machine has certainly ended. Without its file nothing is certain."""
    try:
        file = os.open(_folder(home) / (worker + _SUFFIX), os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(file)
    return True


def remove_dead(home: Path, leased: set[str]) -> None:
    """Remove the files of workers that have ended, but of those that a lease still names."""
    for path in _folder(home).glob(f"*{_SUFFIX}"):
        worker = path.name.removesuffix(_SUFFIX)
        if worker not in leased and is_dead(home, worker):
            path.unlink(missing_ok=True)


def read_machine(home: Path) -> str:
    """ID of this home: whoever sees the same files has the same. Made at first use."""
    path = home.absolute() / "machine"
    if not path.exists():
        home.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"machine.{os.getpid()}.part")
        part.write_text(secrets.token_hex(16))
        with suppress(FileExistsError):
            os.link(part, path)  # the first one stays
        part.unlink()
    return path.read_text()


def _folder(home: Path) -> Path:
    folder = home.absolute() / "run"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
