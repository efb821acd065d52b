"""fs: files and devices of the host, and what is writable."""

import errno
import os
from pathlib import Path

from runner.sandbox.conformance.probe import BLOCKED, Act, Bait, Probe, attempt, probe, reached

_ROOT = {"bin", "dev", "lib", "lib64", "opt", "proc", "run", "sbin", "tmp", "usr", "work"}
_DEVICES = {
    "console", "core", "fd", "full", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout", "tty",
    "urandom", "zero",
}  # fmt: skip


def list_probes() -> list[Probe]:
    """Everything about files."""
    hidden = ["/etc/passwd", "/etc/shadow", "/etc/hosts", "/home", "/root", "/var", "/var/tmp", "/srv"]
    probes = [probe(f"fs.{path.strip('/').replace('/', '_')}", _hidden(path), "wide") for path in hidden]
    for folder in ("/", "/opt", "/opt/app"):
        probes.append(probe(f"fs.create_in_{_word(folder)}", _creates(f"{folder}/probe"), "remount"))
    probes += [
        probe("fs.create_in_dev", _creates("/dev/probe"), "remount"),
        probe("fs.create_in_run", _creates("/run/probe"), runner="remount"),
        probe("fs.create_in_gateway", _creates("/run/gateway/probe"), runner="readonly"),
        probe("fs.touch_socket", _touches("/run/gateway/gateway.sock"), runner="readonly"),
        probe("fs.chmod_root", lambda _: attempt(lambda: Path("/").chmod(0o755), errno.EROFS), "remount"),
        probe("fs.link_in_root", lambda _: _link_root(), "remount"),
        probe("fs.rename_mount", lambda _: _rename_root(), "remount"),
        probe("fs.root_entries", lambda _: _extra("/", _ROOT), "wide"),
        probe("fs.devices", lambda _: _extra("/dev", _DEVICES), "dev"),
        probe("fs.canary", lambda bait: _reads(bait.canary), "wide"),
        probe("fs.canary_by_parents", lambda bait: _reads(f"/work/../../..{bait.canary}"), "wide"),
        probe("fs.canary_by_link", _reads_link, "wide"),
        probe(
            "fs.canary_by_pid1", lambda bait: _reads(f"/proc/1/root{bait.canary}"), runner="wide", evaluator="proc+wide"
        ),
        probe(
            "fs.canary_by_cwd",
            lambda bait: _reads(f"/proc/self/cwd/..{bait.canary}"),
            runner="wide",
            evaluator="proc+wide",
        ),
    ]
    for mount, profile in (("/usr", ""), ("/opt/app/runner", "runner"), ("/opt/site", ""), ("/run/gateway", "runner")):
        ablation = {"runner": "readonly"} if profile else {"both": "readonly"}
        probes.append(probe(f"fs.readonly_{_word(mount)}", _readonly(mount), **ablation))
    probes.append(probe("fs.readonly_sandbox_code", _readonly("/opt/app/runner/sandbox"), "readonly"))
    return probes


def _word(path: str) -> str:
    return path.strip("/").replace("/", "_") or "root"


def _hidden(path: str) -> Act:
    return lambda _bait: reached(path) if Path(path).exists() else BLOCKED


def _creates(path: str) -> Act:
    def create() -> None:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        Path(path).unlink()

    return lambda _bait: attempt(create, errno.EROFS)


def _touches(path: str) -> Act:
    return lambda _bait: attempt(lambda: os.utime(path), errno.EROFS)


def _link_root() -> str:
    def link() -> None:
        Path("/probe").symlink_to("/work")
        Path("/probe").unlink()

    return attempt(link, errno.EROFS)


def _rename_root() -> str:
    def rename() -> None:
        Path("/opt").rename("/probe")
        Path("/probe").rename("/opt")

    return attempt(rename, errno.EROFS)


def _extra(folder: str, known: set[str]) -> str:
    extra = sorted(set(os.listdir(folder)) - known)  # noqa: PTH208 - names, not paths
    return reached(extra[:8]) if extra else BLOCKED


def _reads(path: str) -> str:
    return attempt(lambda: Path(path).read_text(), errno.ENOENT)


def _reads_link(bait: Bait) -> str:
    link = Path("/work/link")
    link.symlink_to(bait.canary)
    try:
        return _reads(str(link))
    finally:
        link.unlink()


def _readonly(mount: str) -> Act:
    # The flag of the mount, not an attempt: another user's files would refuse us on a writable mount, too.
    return lambda _bait: BLOCKED if os.statvfs(mount).f_flag & os.ST_RDONLY else reached("a writable mount")
