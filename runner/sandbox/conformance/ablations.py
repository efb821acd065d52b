"""Protections taken away: pure functions of what bubblewrap would have been started with.

Only the stage of this package applies them. Each raises ValueError when what it removes is not there: an ablation that
removes nothing would prove nothing.
"""

import ctypes
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

from runner.sandbox.bwrap import APP, Bind
from runner.sandbox.conformance.probe import Bait
from runner.sandbox.kernel import call
from runner.sandbox.spec import GATEWAY_DIRECTORY
from runner.sandbox.stage import Start
from runner.sandbox.zygote.entry import STEPS, Entry, Step, refuse_gaps
from runner.sandbox.zygote.keeper import Way

_BOOT, _ENTER = f"{APP}/runner/sandbox/boot.py", f"{APP}/runner/sandbox/conformance/enter.py"
_WIDE = ("/etc", "/home", "/root", "/var", "/srv")
_CAPABILITY_V3, _PR_CAP_AMBIENT, _RAISE = 0x20080522, 47, 2
_LARGE = str(64 << 20)


def ablate(start: Start, names: str, bait: Bait) -> Start:
    """Apply ablations, joined by "+"; the probes start without the check of boot.py then, unless `boot` is named."""
    wanted = names.split("+")
    for name in wanted:
        start = ABLATIONS[name](start, bait) if name != "boot" else start
    return start if "boot" in wanted else start._replace(command=_replace(start.command, [_BOOT], [_ENTER]))


def ablate_way(names: str, bait: Bait) -> Way:
    """The way of a forked runner: the ablations of its room, steps left out, and no check unless `boot` is named."""
    wanted = names.split("+") if names else []
    left_out = {step for name in wanted for step in STEPS_OF.get(name, (name.removeprefix("no-"),))}
    if unknown := [
        name for name in wanted if name.startswith("no-") and name[3:] not in {"pid", *(step.name for step in STEPS)}
    ]:
        raise ValueError(f"{unknown} is not in the steps")
    steps = [step for step in STEPS if step.name not in left_out]
    if "leak" in wanted:
        steps.insert(0, Step("leak", partial(_open_folder, Path(bait.canary).parent)))
    if "caps" in wanted:
        steps.append(Step("raise", _raise_capabilities))
    check = refuse_gaps if "boot" in wanted or not wanted else _check_nothing
    return Way(steps, check, partial(_ablate_room, wanted, bait), not {"pid", "no-pid"} & set(wanted))


def _open_folder(folder: Path, _entry: Entry) -> None:
    os.open(folder, os.O_RDONLY | os.O_DIRECTORY)


def _raise_capabilities(_entry: Entry) -> None:
    """Into the sets that a child and a program would have them from."""
    header, data = (ctypes.c_uint32 * 2)(_CAPABILITY_V3, 0), (ctypes.c_uint32 * 6)()
    call("capget", ctypes.addressof(header), ctypes.addressof(data))
    data[2], data[5] = data[1], data[4]  # inheritable as permitted, low and high words
    call("capset", ctypes.addressof(header), ctypes.addressof(data))
    call("prctl", _PR_CAP_AMBIENT, _RAISE, 0, 0, 0)


def _check_nothing(_entry: Entry) -> None:
    pass


def _ablate_room(wanted: list[str], bait: Bait, start: Start) -> Start:
    for name in wanted:
        if name in ROOM_ABLATIONS:
            start = ROOM_ABLATIONS[name](start, bait)
    return start


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


def _room_limits(start: Start, _bait: Bait) -> Start:
    return start._replace(rlimits={})


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

OF_ZYGOTE = {"isolated"}
"""What the zygote of a forked runner is started with, and not its room."""
ROOM_ABLATIONS = {name: act for name, act in ABLATIONS.items() if name not in OF_ZYGOTE} | {"limits": _room_limits}
STEPS_OF = {
    "seccomp": ("filter",),
    "caps": ("bounding", "capabilities"),
    "limits": ("limits", "processes"),
    "session": ("session",),
    "env": ("environment",),
    "leak": ("descriptors",),
}
"""The steps of a forked runner that an ablation leaves out; `no-NAME` leaves out that one only."""
