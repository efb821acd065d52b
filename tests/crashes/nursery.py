"""`python -m tests.crashes.nursery SOCKET LOG`: forks a campaign's processes from one that has imported everything.

A request is one line of JSON on a Unix socket, with the descriptors of standard output and error; the answers are
`{"pid"}` and, at the end, `{"code"}`. When who asked hangs up, a child that is `bound` to it is killed: a sandboxed
runner dies with its control process in the same way. What is born and how it ends is appended to LOG.
"""

import json
import os
import selectors
import signal
import socket
import struct
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from ctypes import CDLL
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import agent.serve
import local_platform.serve
import runner.main
import tests.crashes.control
import tests.crashes.platform
import tests.crashes.trainer
from local_platform.basemodels.shipped import shipped
from pilotlight import crashpoints
from tests.crashes.engine import load_vocabulary

Json = dict[str, Any]
ROLES: dict[str, Callable[[list[str]], int]] = {
    "control": tests.crashes.control.main,
    "worker": tests.crashes.control.work,
    "platform": tests.crashes.platform.main,
    "runner": lambda _: runner.main.main(),
    "trainer": tests.crashes.trainer.main,
}
_IMPORTED = (agent.serve, local_platform.serve)
_DIE_WITH_PARENT = 1
"""PR_SET_PDEATHSIG."""


@dataclass
class Child:
    """A living process of ours."""

    pid: int
    role: str
    label: str
    asked_by: socket.socket | None
    bound: bool
    parent: int = 0
    """Who asked for it."""
    point: str = ""
    cause: str = ""
    """Who killed it, if not itself: `parent`, or `campaign`."""


@dataclass
class Nursery:
    """One thread, no event loop: what it forks inherits nothing that runs."""

    server: socket.socket
    log: int
    crashes: Path
    """Where a process writes down at which point it dies."""
    armed: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    """Role -> crash points that are still to be reached; each newborn process dies at the first that it comes to."""
    children: dict[int, Child] = field(default_factory=dict[int, Child])

    def run(self) -> None:
        """Serve until the server's socket file is removed or SIGTERM."""
        reader, writer = socket.socketpair()
        for end in (reader, writer, self.server):
            end.setblocking(False)
        signal.set_wakeup_fd(writer.fileno())
        signal.signal(signal.SIGCHLD, _ignore)
        signal.signal(signal.SIGTERM, _leave)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self.server, selectors.EVENT_READ, self._accept)
        self._selector.register(reader, selectors.EVENT_READ, lambda: (reader.recv(4096), self._reap()))
        self._private = [reader, writer]
        while True:
            for key, _ in self._selector.select():
                key.data()

    def _accept(self) -> None:
        connection, _ = self.server.accept()
        connection.setblocking(True)
        text, descriptors, _, _ = socket.recv_fds(connection, 1 << 16, 2)
        if not text:
            connection.close()
            return
        request: Json = json.loads(text)
        if "role" not in request:
            with suppress(ConnectionError):
                connection.sendall(json.dumps(self._serve(request)).encode() + b"\n")
            connection.close()
            return
        child = self._bear(request, descriptors, connection)
        with suppress(ConnectionError):  # who asked may have been killed meanwhile
            connection.sendall(json.dumps({"pid": child.pid}).encode() + b"\n")
        self._selector.register(connection, selectors.EVENT_READ, lambda: self._hung_up(child))

    def _serve(self, request: Json) -> Json:
        """What is not a birth: arm points, tell which are left and who lives, signal the `pick`-th of a kind."""
        if "arm" in request:
            self.armed = {role: list(points) for role, points in request["arm"].items()}
        if "kill" not in request:
            living = [[child.role, child.label, child.pid, child.parent] for child in self.children.values()]
            return {"armed": self.armed, "living": living, "pid": os.getpid()}
        wanted, label = request["kill"], request.get("label")
        found = [
            child
            for child in self.children.values()
            if child.role == wanted and not child.cause and label in (None, child.label)
        ]
        if not found:
            return {"pid": 0}
        child = found[request["pick"] % len(found)]
        if request["signal"] == signal.SIGKILL:
            child.cause = "campaign"
        self._note(f"signal {request['signal']}", child)
        os.kill(child.pid, request["signal"])
        return {"pid": child.pid}

    def _bear(self, request: Json, descriptors: list[int], connection: socket.socket) -> Child:
        role, environment = str(request["role"]), dict(request["environment"])
        if points := self.armed.get(role):
            environment |= {"PILOTLIGHT_CRASH_TESTS": "1", "PILOTLIGHT_CRASH_AT": ",".join(points)}
            environment["PILOTLIGHT_CRASH_LOG"] = str(self.crashes)
        pid = os.fork()
        if pid == 0:
            _live(request, environment, descriptors, [self.server, connection, *self._private])
        for descriptor in descriptors:
            os.close(descriptor)
        label, bound = str(request.get("label", "")), bool(request.get("bound"))
        child = Child(pid, role, label, connection, bound, _peer_of(connection))
        self.children[pid] = child
        self._note("start", child)
        return child

    def _hung_up(self, child: Child) -> None:
        assert child.asked_by is not None
        with suppress(ConnectionError):
            if child.asked_by.recv(1):
                return
        self._forget(child)
        if child.bound and child.pid in self.children:
            child.cause = child.cause or "parent"
            for kill in (os.killpg, os.kill):  # a newborn does not lead its group yet
                with suppress(ProcessLookupError):
                    kill(child.pid, signal.SIGKILL)

    def _reap(self) -> None:
        while self.children:
            pid, status, used = os.wait4(-1, os.WNOHANG)
            if pid == 0:
                return
            child = self.children.pop(pid)
            code = os.waitstatus_to_exitcode(status)
            if code == -signal.SIGKILL and not child.cause:
                child.point = self._reached_by(pid)
                child.cause = "point" if child.point else "unknown"
                if child.point in self.armed.get(child.role, []):
                    self.armed[child.role].remove(child.point)
            self._note("end", child, code, used.ru_utime + used.ru_stime)
            if child.asked_by is not None:
                with suppress(OSError):
                    child.asked_by.sendall(json.dumps({"code": code}).encode() + b"\n")
                self._forget(child)

    def _reached_by(self, pid: int) -> str:
        lines = self.crashes.read_text().splitlines() if self.crashes.exists() else []
        found = [point for number, _, point in (line.partition(" ") for line in lines) if number == str(pid)]
        return found[-1] if found else ""

    def _forget(self, child: Child) -> None:
        if child.asked_by is not None:
            self._selector.unregister(child.asked_by)
            child.asked_by.close()
            child.asked_by = None

    def _note(self, what: str, child: Child, code: int | None = None, cpu: float = 0.0) -> None:
        entry = {"time": time.time(), "what": what, "role": child.role, "pid": child.pid, "label": child.label}
        entry |= {"point": child.point, "cause": child.cause, "code": code, "cpu": round(cpu, 3)}
        os.write(self.log, json.dumps(entry).encode() + b"\n")


def _ignore(_number: int, _frame: object) -> None:
    """The wake-up descriptor tells."""


def _leave(_number: int, _frame: object) -> None:
    sys.exit(0)


def _peer_of(connection: socket.socket) -> int:
    size = struct.calcsize("3i")
    return struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))[0]


def _live(request: Json, environment: dict[str, str], descriptors: list[int], inherited: list[socket.socket]) -> None:
    """The rest of a child's life."""
    code = 70
    try:
        CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.setsid()
        for number, descriptor in enumerate(descriptors, 1):
            os.dup2(descriptor, number)
        for descriptor in descriptors:
            os.close(descriptor)
        for end in inherited:
            end.close()
        os.environ.clear()
        os.environ.update(environment)
        os.chdir(request["folder"])
        crashpoints.arm(environment)
        code = ROLES[request["role"]](list(request.get("arguments", [])))
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    except BaseException:  # noqa: BLE001 - it must never return into the nursery's loop
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def main() -> None:
    """Listen, say so, and serve."""
    path, log = sys.argv[1:]
    crashes = Path(path).with_name("crashes.log")
    for model in shipped():
        load_vocabulary(model.directory.resolve())
    server = socket.socket(socket.AF_UNIX)
    server.bind(path)
    server.listen(64)
    Nursery(server, os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), crashes).run()


if __name__ == "__main__":
    Path(sys.argv[1]).unlink(missing_ok=True)
    main()
