"""The zygote: imports everything a runner needs, holds no secret, and forks a keeper for each runner it is asked for.

Started by `client` with an empty environment and one socket. The first message says what to import and how folders are
called inside; each further one is a runner, with three descriptors.
"""

import gc
import json
import os
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from runner.sandbox.bwrap import Bind
from runner.sandbox.kernel import PR_SET_CHILD_SUBREAPER, call
from runner.sandbox.spec import read_spec
from runner.sandbox.zygote.keeper import Job, Run, Way, keep, tie_to
from runner.sandbox.zygote.naming import Naming, rename_modules

MOST_BYTES = 1 << 18
"""Of one message."""
_DESCRIPTORS = 3
Become = Callable[[dict[str, Any], list[int]], Run]


def main(link: socket.socket, hello: dict[str, Any]) -> None:
    """Serve until the other end of `link` closes. In a forked runner: run it."""
    if run := serve_runners(link, hello, lambda request, descriptors: keep(read_job(request, descriptors), Way())):
        run()


def serve_runners(link: socket.socket, hello: dict[str, Any], become: Become) -> Run | None:
    """Get ready, say so, and fork. Returns None at the end, and in a runner what it has to run.

    `become` turns the forked process into the keeper of a request.
    """
    tie_to(hello["parent"])
    call("prctl", PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)  # runners of a killed keeper are reaped here
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # keepers report by themselves
    try:
        warm_up(hello)
    except Exception as error:  # noqa: BLE001 - whatever it is, the other end has to be told
        link.send(json.dumps({"error": f"{type(error).__name__}: {error}"}).encode()[:MOST_BYTES])
        return None
    link.send(b"{}")
    return _serve(link, become)


def warm_up(hello: dict[str, Any]) -> None:
    """Import, rename, and make sure that a fork of this process has nothing but memory."""
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    if hello["warm"]:
        import_module(hello["warm"]).warm_up()
    if hello["names"]:
        rename_modules(Naming(hello["names"]), hello["inside"])
    if len(threads := os.listdir("/proc/self/task")) != 1:  # noqa: PTH208
        raise RuntimeError(f"{len(threads)} threads are running; only a single one can be forked")
    if len(descriptors := os.listdir("/proc/self/fd")) > 5:  # noqa: PTH208 - 0 to 2, the link, this listing
        raise RuntimeError(f"descriptors are open: {', '.join(map(_describe, descriptors))}")
    gc.collect()
    gc.freeze()


def _describe(descriptor: str) -> str:
    with suppress(OSError):
        return f"{descriptor} {Path('/proc/self/fd', descriptor).readlink()}"
    return descriptor


def _serve(link: socket.socket, become: Become) -> Run | None:
    zygote = os.getpid()
    while True:
        message, descriptors, _, _ = socket.recv_fds(link, MOST_BYTES, _DESCRIPTORS)
        if not message:
            return None
        for descriptor in descriptors:  # bubblewrap, and with it whoever waits in the room, is to have none of them
            os.set_inheritable(descriptor, False)
        keeper = os.fork()
        if keeper == 0:
            link.close()
            tie_to(zygote)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            return become(json.loads(message), descriptors)
        handle = os.pidfd_open(keeper)
        socket.send_fds(link, [json.dumps({"pid": keeper}).encode()], [handle])
        for descriptor in (handle, *descriptors):
            os.close(descriptor)


def read_job(request: dict[str, Any], descriptors: list[int]) -> Job:
    """A request as `client` sends it."""
    binds = [Bind(*bind) for bind in request["binds"]]
    return Job(read_spec(request["spec"]), request["bwrap"], binds, *descriptors)
