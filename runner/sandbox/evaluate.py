"""Inside the evaluator sandbox: run the source that came on standard input and return its value on a descriptor.

`python -m runner.sandbox.evaluate DESCRIPTOR`; standard library only. The reader outside trusts nothing of this.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any, NoReturn

READY = b"ready\n"
"""Written before any foreign code runs: without it the sandbox did not start."""
_LONGEST_ERROR = 300


class _Overtime(BaseException):
    """Not an Exception: the code that is too slow must not be able to go on by catching everything."""


def main() -> None:
    """Exit 0 with a JSON value on the descriptor; an exception of the source is a traceback and exit 1.

    With `rowSeconds`, `input` is a list of argument lists and the value a list, one object for each: {value, seconds},
    or {error, seconds} where the call raised, took longer, or returned what is not JSON. Seconds are of the CPU.
    """
    channel = int(sys.argv[1])
    os.set_inheritable(channel, False)
    call = json.load(sys.stdin)
    os.write(channel, READY)
    namespace: dict[str, Any] = {"__name__": "evaluator"}
    exec(compile(call["source"], "<evaluator>", "exec"), namespace)
    if not callable(function := namespace.get(call["function"])):
        sys.exit(f"the source defines no function {call['function']!r}")
    limit = call.get("row_seconds")
    value = function(call["input"]) if limit is None else [_run_one(function, row, limit) for row in call["input"]]
    _write(channel, json.dumps(value, allow_nan=False).encode())


def _run_one(function: Callable[..., Any], arguments: list[Any], limit: float) -> dict[str, Any]:
    start = time.process_time()
    signal.signal(signal.SIGALRM, _end_overtime)
    try:
        try:
            signal.setitimer(signal.ITIMER_REAL, limit)
            value = function(*arguments)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        json.dumps(value, allow_nan=False)
        outcome = {"value": value}
    except _Overtime:
        outcome = {"error": f"took longer than {limit:g} seconds"}
    except BaseException as error:  # noqa: BLE001  SystemExit of foreign code must not end the other rows
        outcome = {"error": f"{type(error).__name__}: {error}"[:_LONGEST_ERROR]}
    return outcome | {"seconds": round(time.process_time() - start, 6)}


def _end_overtime(*_: object) -> NoReturn:
    raise _Overtime


def _write(channel: int, data: bytes) -> None:
    while data:
        data = data[os.write(channel, data) :]


if __name__ == "__main__":
    main()
