"""python: what could make the interpreter load code that an earlier turn left in /work."""

import builtins
import importlib.util
import site
import sys
from collections.abc import Callable

from runner.sandbox.conformance.probe import BLOCKED, Act, Probe, probe, reached

PLANTS = {
    "colorsys": "colorsys.py",
    "sitecustomize": "sitecustomize.py",
    "usercustomize": "usercustomize.py",
    "pth": f".local/lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages/planted.pth",
}
"""Files of the workspace that say so in `builtins.planted` when they are loaded."""


def list_probes() -> list[Probe]:
    """Everything about the interpreter; only a runner has a workspace that lasts."""
    planted = [name for name in PLANTS if name != "colorsys"]
    return [
        probe("python.isolated", _flag(lambda: sys.flags.isolated == 1), "isolated"),
        probe("python.safe_path", _flag(lambda: sys.flags.safe_path), "isolated"),
        probe("python.ignores_environment", _flag(lambda: sys.flags.ignore_environment == 1), "isolated"),
        probe("python.no_user_site", _flag(lambda: not site.ENABLE_USER_SITE), "isolated"),
        probe("python.writes_no_bytecode", _flag(lambda: sys.dont_write_bytecode), "isolated"),
        probe("python.path", _flag(lambda: not any(path.startswith("/work") for path in sys.path)), "isolated"),
        probe("python.shadowed_module", lambda _: _shadow(), runner="isolated"),
        *(probe(f"python.{name}", _planted(name), runner="isolated") for name in planted),
    ]


def _flag(holds: Callable[[], bool]) -> Act:
    return lambda _bait: BLOCKED if holds() else reached()


def _shadow() -> str:
    specification = importlib.util.find_spec("colorsys")
    origin = str(specification.origin if specification else "")
    return reached(origin) if origin.startswith("/work") else BLOCKED


def _planted(name: str) -> Act:
    return lambda _bait: reached() if name in getattr(builtins, "planted", ()) else BLOCKED
