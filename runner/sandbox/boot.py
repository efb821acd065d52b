"""First code inside the sandbox: refuse to go on unless it is confined, then run the module.

Run as a script with `python -I -B boot.py PATHS MODULE [ARGUMENT...]`; standard library only.
"""

import os
import runpy
import sys
from pathlib import Path

_SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
_WANTED = {"NoNewPrivs": "1", "Seccomp": "2"} | dict.fromkeys(_SETS, "0" * 16)


def assert_confined() -> None:
    """Exit with a message unless capabilities are zero, no-new-privs is set and the seccomp filter is on."""
    lines = Path("/proc/self/status").read_text().splitlines()
    status = {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
    wrong = [
        f"{name} is {status.get(name)}, not {wanted}" for name, wanted in _WANTED.items() if status.get(name) != wanted
    ]
    if os.getuid() == 0:
        wrong.append("the user ID is 0")
    if wrong:
        sys.exit(
            "The sandbox is not closed, so nothing is run in it: " + "; ".join(wrong) + ". Run `pilotlight doctor`."
        )


def main() -> None:
    """Check, set the import path, run the module as __main__."""
    assert_confined()
    paths, module, *arguments = sys.argv[1:]
    sys.path.extend(paths.split(":"))
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
