"""What a run of the probes must leave as it was: mounts, names, devices, shared objects and processes of this host."""

import os
import time
from pathlib import Path

import psutil

_OTHERS = {"pts", "shm", "mqueue", "fd"}
"""Folders of /dev that other programs fill at any time."""
_PATIENCE_SECONDS = 5.0

Fingerprint = dict[str, list[str]]


def take_fingerprint(uid: int | None) -> Fingerprint:
    """The state by aspect. Of what others may change meanwhile, only what belongs to `uid` (or this user) counts."""
    owner = os.getuid() if uid is None else uid
    return {
        "mounts": sorted(Path("/proc/self/mountinfo").read_text().splitlines()),
        "host name": [os.uname().nodename, Path("/proc/sys/kernel/domainname").read_text()],
        "devices": sorted(str(path) for path in _walk_devices()),
        "shared memory": sorted(path.name for path in Path("/dev/shm").iterdir() if _owner(path) == owner),
        "System V objects": [line for kind in ("shm", "sem", "msg") for line in _list_objects(kind, owner)],
        "processes": sorted(str(process.pid) for process in psutil.process_iter() if _belongs(process, uid)),
    }


def await_unchanged(before: Fingerprint, uid: int | None) -> str:
    """What still differs from `before` after a few seconds: bubblewrap ends just before its first process inside."""
    end = time.monotonic() + _PATIENCE_SECONDS
    while changed := compare_fingerprints(before, take_fingerprint(uid)):
        if time.monotonic() > end:
            return changed
        time.sleep(0.05)
    return ""


def compare_fingerprints(before: Fingerprint, after: Fingerprint) -> str:
    """The aspects that differ, with what came and went; empty when none does."""
    changes: list[str] = []
    for aspect, old in before.items():
        new = after[aspect]
        if old != new:
            changes.append(f"{aspect}: came {sorted(set(new) - set(old))}, went {sorted(set(old) - set(new))}")
    return "; ".join(changes)


def _walk_devices() -> list[Path]:
    found: list[Path] = []
    for folder, folders, files in os.walk("/dev"):
        if folder == "/dev":
            folders[:] = [name for name in folders if name not in _OTHERS]
        found += [Path(folder, name) for name in (*folders, *files)]
    return found


def _owner(path: Path) -> int:
    try:
        return path.lstat().st_uid
    except FileNotFoundError:  # another program's, just removed
        return -1


def _list_objects(kind: str, owner: int) -> list[str]:
    path = Path("/proc/sysvipc", kind)
    if not path.exists():
        return []
    header, *lines = path.read_text().splitlines()
    column = header.split().index("uid")
    return [f"{kind} {line.split()[1]}" for line in lines if line.split()[column] == str(owner)]


def _belongs(process: psutil.Process, uid: int | None) -> bool:
    """A live process of the sandbox's own user ID or, where it has none, a child of this one."""
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        return process.ppid() == os.getpid() if uid is None else process.uids().real == uid
    except psutil.NoSuchProcess:
        return False
