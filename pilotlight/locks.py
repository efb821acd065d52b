"""Advisory locks between processes of one home, by a file; the system drops them when their process ends."""

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from pilotlight.errors import FailedPrecondition

SERVING = "serving.lock"
"""In a home: held shared by every server process as long as it exists."""


def hold_home(home: Path) -> None:
    """Say until this process ends that it serves `home`. Raises FailedPrecondition while a restore replaces it."""
    home.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(home / SERVING, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise FailedPrecondition(f"{home} is being restored.", hint="Wait until that is done.") from error


@contextmanager
def try_lock(path: Path, *, shared: bool = False, wait: bool = False) -> Generator[bool]:
    """Hold the lock for the block; False in the block when others have it and `wait` is not given. Raises OSError.

    Any number of processes may hold it shared, or one alone.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        kind = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB)
        try:
            fcntl.flock(descriptor, kind)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)
