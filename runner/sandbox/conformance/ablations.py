"""Protections taken away: pure functions of what bubblewrap would have been started with.

Only the stage of this package applies them. Each raises ValueError when what it removes is not there: an ablation that
removes nothing would prove nothing.
"""

import os
from collections.abc import Callable
from pathlib import Path

from runner.sandbox.bwrap import APP, Bind
from runner.sandbox.conformance.probe import Bait
from runner.sandbox.spec import GATEWAY_DIRECTORY
from runner.sandbox.stage import Start

_BOOT, _ENTER = f"{APP}/runner/sandbox/boot.py", f"{APP}/runner/sandbox/conformance/enter.py"
_WIDE = ("/etc", "/home", "/root", "/var", "/srv")
_LARGE = str(64 << 20)


def ablate(start: Start, names: str, bait: Bait) -> Start:
    """Apply ablations, joined by "+"; the probes start without the check of boot.py then, unless `boot` is named."""
    wanted = names.split("+")
    for name in wanted:
        start = ABLATIONS[name](start, bait) if name != "boot" else start
    return start if "boot" in wanted else start._replace(command=_replace(start.command, [_BOOT], [_ENTER]))


def extra_binds(names: str, bait: Bait) -> list[Bind]:
    """Folders to bind besides."""
    return [Bind(Path(bait.gateway), GATEWAY_DIRECTORY)] if "socket" in names.split("+") else []


def _replace(command: list[str], old: list[str], new: list[str]) -> list[str]:
    for at in range(len(command)):
        if command[at : at + len(old)] == old:
            return [*command[:at], *new, *command[at + len(old) :]]
    raise ValueError(f"{' '.join(old)} is not in the command")


Ablation = Callable[[Start, Bait], Start]


def _without(*old: str) -> Ablation:
    return _instead(list(old), [])


def _instead(old: list[str], new: list[str]) -> Ablation:
    return lambda start, _bait: start._replace(command=_replace(start.command, old, new))


def _then(*steps: Ablation) -> Ablation:
    def apply(start: Start, bait: Bait) -> Start:
        for step in steps:
            start = step(start, bait)
        return start

    return apply


def _seccomp(start: Start, _bait: Bait) -> Start:
    at = start.command.index("--seccomp")
    return start._replace(command=start.command[:at] + start.command[at + 2 :])


def _environment(start: Start, bait: Bait) -> Start:
    return start._replace(environment={"PILOTLIGHT_CANARY": bait.secret})


def _limits(start: Start, _bait: Bait) -> Start:
    command = list(start.command)
    command[command.index(_BOOT) + 2] = "unlimited"
    return start._replace(command=command, rlimits={})


def _readonly(start: Start, _bait: Bait) -> Start:
    if "--ro-bind" not in start.command:
        raise ValueError("--ro-bind is not in the command")
    return start._replace(command=["--bind" if part == "--ro-bind" else part for part in start.command])


def _size(start: Start, _bait: Bait) -> Start:
    command = list(start.command)
    for at, part in enumerate(command):
        if part == "--size":
            command[at + 1] = _LARGE
    return start._replace(command=command)


def _shm(start: Start, _bait: Bait) -> Start:
    at = start.command.index("/dev/shm")
    sized = start.command[at - 3 : at + 1]
    return start._replace(command=_replace(start.command, sized, ["--bind", "/dev/shm", "/dev/shm"]))


def _wide(start: Start, _bait: Bait) -> Start:
    binds = [part for path in _WIDE if Path(path).is_dir() for part in ("--ro-bind", path, path)]
    return start._replace(command=_replace(start.command, ["--clearenv"], ["--clearenv", *binds]))


def _isolated(start: Start, _bait: Bait) -> Start:
    variables = ["--setenv", "HOME", "/work", "--setenv", "PYTHONPATH", "/work"]
    command = _replace(start.command, ["-I", "-B"], [])
    return start._replace(command=_replace(command, ["--"], [*variables, "--"]))


def _leak(start: Start, bait: Bait) -> Start:
    os.set_inheritable(os.open(Path(bait.canary).parent, os.O_RDONLY | os.O_DIRECTORY), True)
    return start


ABLATIONS: dict[str, Ablation] = {
    "seccomp": _seccomp,
    "net": _without("--unshare-net"),
    "pid": _without("--unshare-pid"),
    "ipc": _without("--unshare-ipc"),
    "uts": _then(_without("--unshare-uts"), _without("--hostname", "sandbox")),
    "cgroup": _without("--unshare-cgroup-try"),
    "userns": _without("--disable-userns"),
    "caps": _instead(["--cap-drop", "ALL"], ["--cap-add", "ALL"]),
    "session": _without("--new-session"),
    "clearenv": _without("--clearenv"),
    "env": _environment,
    "isolated": _isolated,
    "limits": _limits,
    "size": _size,
    "remount": _then(_without("--remount-ro", "/dev"), _without("--remount-ro", "/")),
    "readonly": _readonly,
    "wide": _wide,
    "dev": _then(_instead(["--dev", "/dev"], ["--dev-bind", "/dev", "/dev"]), _without("--remount-ro", "/dev")),
    "shm": _shm,
    "proc": _instead(["--dev", "/dev"], ["--proc", "/proc", "--dev", "/dev"]),
    "socket": lambda start, _bait: start,
    "leak": _leak,
}
"""What to take away, by name. `socket` gives an evaluator the folder of a socket (see extra_binds)."""
