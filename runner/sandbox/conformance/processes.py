"""proc, env and ns: other processes and what they show, and whose namespaces these are."""

import ctypes
import errno
import os
from pathlib import Path

from runner.sandbox.conformance.probe import BLOCKED, Act, Bait, Probe, attempt, probe, reached
from runner.sandbox.seccomp import NAMESPACES, REFUSED

_NAMES = {"PATH", "LANG", "LC_CTYPE", "HOME", "TZ", "PYTHONUNBUFFERED", "LD_LIBRARY_PATH", "PWD"}
_OWN = {"bwrap", "cat"}
"""bubblewrap's first process, and what waits in the room of a forked runner."""
_NAMESPACES = ("net", "pid", "ipc", "uts", "cgroup")
_MOUNTINFO = "the mount table names the host folders that are bound, without showing more of them"
_CPUINFO = "/proc says what machine this is"
_PID1 = "bubblewrap's first process has the same user, filter and capabilities: nothing is gained by writing to it"


def list_probes() -> list[Probe]:
    """Everything about processes, the environment and namespaces."""
    probes = [
        probe("proc.absent", lambda _: reached() if Path("/proc/self").exists() else BLOCKED, evaluator="proc"),
        probe("proc.mountinfo", lambda _: _hidden("/proc/self/mountinfo"), evaluator="proc", known=_MOUNTINFO),
        probe("proc.cpuinfo", lambda _: _hidden("/proc/cpuinfo"), evaluator="proc", known=_CPUINFO),
        probe("proc.pid1_memory", lambda _: _hidden("/proc/1/mem"), evaluator="proc", known=_PID1),
        probe("proc.others", lambda _: _count(), runner="pid", evaluator="proc+pid"),
        probe("proc.host_status", _reads_host("status"), runner="pid", evaluator="proc+pid"),
        probe("proc.host_command", _reads_host("cmdline"), runner="pid", evaluator="proc+pid"),
        probe("env.secret", lambda bait: _search(str(os.environ), bait.secret), "env+clearenv", fork="env"),
        probe("env.names", lambda _: _names(), "env+clearenv", fork="env"),
        probe("env.pid1", _first_environment, runner="env", evaluator="proc+env"),
        probe("ns.hostname", lambda bait: _search(os.uname().nodename, bait.hostname), "uts"),
        probe("ns.unshare_user", lambda _: _unshare(), "userns+seccomp"),
    ]
    return [*probes, *(probe(f"ns.same_{name}", _same(name), runner=name) for name in _NAMESPACES)]


def _hidden(path: str) -> str:
    return attempt(lambda: Path(path).open("rb").close(), errno.ENOENT)


def _count() -> str:
    if not Path("/proc/self").exists():
        return BLOCKED
    others = [entry for entry in Path("/proc").iterdir() if entry.name.isdigit() and entry.name != str(os.getpid())]
    strange = {_read_name(entry) for entry in others} - _OWN
    return reached(f"{len(strange)} programs") if strange else BLOCKED


def _read_name(process: Path) -> str:
    try:
        return (process / "comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):  # one of the host that has just ended
        return "gone"


def _reads_host(name: str) -> Act:
    return lambda bait: attempt(lambda: Path(f"/proc/{bait.pid}/{name}").read_bytes()[:40], errno.ENOENT)


def _search(text: str, secret: str) -> str:
    return reached() if secret in text else BLOCKED


def _names() -> str:
    extra = sorted(set(os.environ) - _NAMES)
    return reached(extra) if extra else BLOCKED


def _first_environment(_bait: Bait) -> str:
    path = Path("/proc/1/environ")
    return reached() if path.exists() and path.read_bytes().strip(b"\0") else BLOCKED


def _same(name: str) -> Act:
    def act(bait: Bait) -> str:
        same = str(Path("/proc/self/ns", name).readlink()) == bait.namespaces[name]
        return reached() if same else BLOCKED

    return act


def _unshare() -> str:
    """In a child, which alone would be in the new namespace."""
    child = os.fork()
    if child == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        os._exit(0 if libc.unshare(NAMESPACES["user"]) == 0 else ctypes.get_errno())
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code == 0:
        return reached("a user namespace")
    return BLOCKED if code in (REFUSED, errno.ENOSPC) else f"error {errno.errorcode.get(code, code)}"
