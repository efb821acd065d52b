"""Inside the evaluator sandbox: run the source that came on standard input and return its value on a descriptor.

`python -m runner.sandbox.evaluate DESCRIPTOR`; standard library only. The reader outside trusts nothing of this.
"""

import json
import os
import sys
from typing import Any

READY = b"ready\n"
"""Written before any foreign code runs: without it the sandbox did not start."""


def main() -> None:
    """Exit 0 with a JSON value on the descriptor; an exception of the source is a traceback and exit 1."""
    channel = int(sys.argv[1])
    os.set_inheritable(channel, False)
    call = json.load(sys.stdin)
    os.write(channel, READY)
    namespace: dict[str, Any] = {"__name__": "evaluator"}
    exec(compile(call["source"], "<evaluator>", "exec"), namespace)
    if not callable(function := namespace.get(call["function"])):
        sys.exit(f"the source defines no function {call['function']!r}")
    _write(channel, json.dumps(function(call["input"]), allow_nan=False).encode())


def _write(channel: int, data: bytes) -> None:
    while data:
        data = data[os.write(channel, data) :]


if __name__ == "__main__":
    main()
