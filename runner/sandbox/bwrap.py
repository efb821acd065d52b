"""The bubblewrap command line: a minimal read-only root; for a runner also a writable folder and a socket folder."""

import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from runner.sandbox.spec import GATEWAY_DIRECTORY, WORKSPACE_PATH, LaunchSpec, Profile

PACKAGES = {"runner": ("runner", "prompts", "pilotlight"), "evaluator": ("runner/sandbox",)}
"""All of our code that enters a sandbox, by profile."""
APP = "/opt/app"
PYTHON, _SITE = "/opt/python", "/opt/site"


class Bind(NamedTuple):
    """A folder of the host and where it is seen inside. Paths of the host are never shown inside."""

    source: Path
    target: str
    writable: bool = False


def list_binds(spec: LaunchSpec) -> list[Bind]:
    """Everything of the host that is visible inside, apart from /usr."""
    binds = list_code(spec.profile, spec.packages)
    if spec.socket_directory:
        binds.append(Bind(spec.socket_directory, GATEWAY_DIRECTORY))
    if spec.workspace:
        binds.append(Bind(spec.workspace, WORKSPACE_PATH, writable=True))
    return binds


def list_code(profile: Profile, packages: Path | None = None) -> list[Bind]:
    """Our code, the packages that it needs (or `packages` in their place), and the interpreter."""
    root = Path(__file__).resolve().parents[2]
    binds = [Bind(root / package, f"{APP}/{package}") for package in PACKAGES[profile]]
    ours = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    # Beside ours, two versions of one package would be mixed.
    sites = ours if packages is None else {str(packages)}
    binds += [Bind(Path(site), f"{_SITE}{index or ''}") for index, site in enumerate(sorted(sites))]
    if Path(sys.base_prefix) != Path("/usr"):
        binds.append(Bind(Path(sys.base_prefix), PYTHON))
    return binds


def build_command(
    bwrap: str, binds: list[Bind], spec: LaunchSpec, seccomp_descriptor: int, payload: Sequence[str] = ()
) -> list[str]:
    """The argument vector; `seccomp_descriptor` is inherited and read by bwrap. Without a `payload`: boot.py."""
    command = [bwrap, "--unshare-user", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts"]
    command += ["--unshare-cgroup-try", "--disable-userns", "--cap-drop", "ALL", "--die-with-parent", "--new-session"]
    command += ["--clearenv", "--hostname", "sandbox", "--ro-bind", "/usr", "/usr"]
    for name in ("lib", "lib64", "bin", "sbin"):
        if Path("/", name).is_symlink():
            command += ["--symlink", f"usr/{name}", f"/{name}"]
        elif Path("/", name).is_dir():
            command += ["--ro-bind", f"/{name}", f"/{name}"]
    for bind in binds:
        command += ["--bind" if bind.writable else "--ro-bind", str(bind.source), bind.target]
    command += [*_mount_own(spec), "--chdir", WORKSPACE_PATH, "--seccomp", str(seccomp_descriptor)]
    for name, value in list_variables(binds).items():
        command += ["--setenv", name, value]
    return [*command, "--", *(payload or _payload(binds, spec))]


def _mount_own(spec: LaunchSpec) -> list[str]:
    proc = ["--proc", "/proc"] if spec.profile == "runner" else []
    folders = ["/dev/shm", "/tmp", *([] if spec.workspace else [WORKSPACE_PATH])]
    sized = [part for folder in folders for part in ("--size", str(spec.limits.tmpfs_bytes), "--tmpfs", folder)]
    # bubblewrap leaves /dev writable and unbounded, as it does the root.
    return [*proc, "--dev", "/dev", *sized, "--remount-ro", "/dev", "--remount-ro", "/"]


def list_variables(binds: list[Bind]) -> dict[str, str]:
    """The environment inside."""
    environment = {"PATH": "/usr/bin", "LANG": "C.UTF-8", "HOME": "/tmp", "TZ": "UTC", "PYTHONUNBUFFERED": "1"}
    if any(bind.target == PYTHON for bind in binds):
        environment["LD_LIBRARY_PATH"] = f"{PYTHON}/lib"  # a shared libpython would else be found in /usr/lib
    return environment


def list_paths(binds: list[Bind]) -> list[str]:
    """Where modules are found inside, after the standard library."""
    return [APP, *(bind.target for bind in binds if bind.target.startswith(_SITE))]


def _payload(binds: list[Bind], spec: LaunchSpec) -> list[str]:
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    own_python = any(bind.target == PYTHON for bind in binds)
    python = f"{PYTHON}/bin/{version}" if own_python else f"/usr/bin/{version}"
    boot = [f"{APP}/runner/sandbox/boot.py", spec.profile, str(spec.limits.processes), ":".join(list_paths(binds))]
    # Packages of the machine's own Python would come before those that an evaluator was installed with.
    alone = ["-S"] if spec.packages else []
    return [python, "-I", "-B", *alone, *boot, spec.module, *spec.arguments]
