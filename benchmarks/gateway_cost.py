"""What the gateway costs: the time of one decision, and the latency it adds to a local call, measured in turn.

    python -m benchmarks.gateway_cost [--calls 400] [--strict]

Platform, gateway and client are three processes on one machine. Targets, median: decision < 100 us, added < 2 ms for a
session's read and chat. Beside them, without a target: a user's read through the whole control process.
"""

import argparse
import json
import multiprocessing
import os
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

import httpx
import psutil
import uvicorn
from pydantic import SecretStr
from sqlmodel import Session
from starlette.requests import Request

from agent.app import build_app
from agent.fencing import is_running
from agent.store import create_tables
from agent.tables import SessionRow
from gateway import Gateway, PlatformClient, Principal, grants
from manifest.decide import decide
from manifest.facts import RequestFacts
from pilotlight.database import open_engine
from pilotlight.plan import Cost, GrantSpec, Phase, Plan, PlanDataset, Rule
from pilotlight.settings import Settings

ME = Principal("session", "acme", session="s1", user="ann", epoch=1)
JOB = {
    "dataset": "accounts/acme/datasets/d1",
    "evaluationDataset": "accounts/acme/datasets/d2",
    "baseModel": "accounts/fireworks/models/ember-500k",
    "outputModel": "accounts/acme/models/out-1",
    "epochs": 2.5,
    "learningRate": 0.001,
    "loraRank": 8,
    "evalAutoCarveout": False,
}
CHAT = {
    "model": "accounts/acme/deployments/d",
    "messages": [{"role": "user", "content": "a question of some length " * 20}],
    "max_tokens": 32,
    "temperature": 0,
}
DECISION_US, ADDED_MS = 100, 2.0
READ = "/v1/accounts/acme/supervisedFineTuningJobs/ft-1"
ANSWER = json.dumps({"name": READ, "state": "JOB_STATE_RUNNING"} | JOB).encode()


CALLS: dict[str, Callable[[httpx.Client], httpx.Response]] = {
    "read": lambda client: client.get(READ),
    "chat": lambda client: client.post("/inference/v1/chat/completions", json=CHAT),
}


@dataclass(frozen=True)
class Door:
    """A way to the platform: who calls, the process that serves it, and which calls are timed."""

    name: str
    process: multiprocessing.Process
    url: str
    calls: tuple[str, ...]
    headers: dict[str, str]
    target: bool


@dataclass(frozen=True)
class Added:
    """What one kind of call takes: pairs of milliseconds, direct and through; CPU milliseconds of the gateway."""

    name: str
    pairs: list[tuple[float, float]]
    cpu: float
    target: bool

    @property
    def direct(self) -> float:
        """Median of the direct calls."""
        return statistics.median(direct for direct, _ in self.pairs)

    @property
    def through(self) -> float:
        """Median of the calls through the gateway."""
        return statistics.median(through for _, through in self.pairs)

    @property
    def added(self) -> float:
        """Median of the differences within the pairs."""
        return statistics.median(through - direct for direct, through in self.pairs)

    @property
    def fastest(self) -> float:
        """The fastest call through the gateway less the fastest direct one: the least noise."""
        return min(through for _, through in self.pairs) - min(direct for direct, _ in self.pairs)

    @property
    def met(self) -> bool:
        """Whether the target is met, the stricter way of taking the median."""
        return max(self.added, self.through - self.direct) < ADDED_MS


async def platform(scope: Any, receive: Any, send: Any) -> None:
    """The smallest thing that answers: reads the body, sends 400 bytes."""
    while (await receive()).get("more_body"):
        pass
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(ANSWER)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": ANSWER})


def serve(app: Any, ready: Connection, lifespan: Literal["on", "off"] = "off") -> None:
    """Run an ASGI app in this process and tell its URL."""
    config = uvicorn.Config(app, port=0, log_level="warning", access_log=False, lifespan=lifespan, interface="asgi3")
    # with the protocol named, as a server that is given host and port does: else asyncio leaves Nagle's delay on
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.bind(("127.0.0.1", 0))
    sock.listen()
    ready.send(f"http://127.0.0.1:{sock.getsockname()[1]}")
    uvicorn.Server(config).run([sock])


def serve_platform(ready: Connection) -> None:
    """Entry of the platform's process."""
    serve(platform, ready)


def serve_gateway(ready: Connection, home: str, url: str) -> None:
    """Entry of the gateway's process: a real database, a real grant."""
    engine = open_engine(f"sqlite:///{Path(home) / 'control.db'}")
    gateway = Gateway(engine, Settings(platform_key=SecretStr("fw_x")), PlatformClient(url), is_running=is_running)
    create_tables(engine)
    with Session(engine) as db, db.begin():
        grants.write(db, "s1", plan(), "plan_approval", "ann")
        db.add(running_session())

    async def app(scope: Any, receive: Any, send: Any) -> None:
        response = await gateway.forward(ME, Request(scope, receive))
        await response(scope, receive, send)

    serve(app, ready)


def serve_control(ready: Connection, home: str, url: str) -> None:
    """Entry of the control process as `pilotlight up` runs it, with an admin key in its home."""
    folder = Path(home) / "control"
    folder.mkdir()
    settings = Settings(home=folder, account="acme", platform_url=url, platform_key=SecretStr("fw_x"))
    serve(build_app(settings), ready, lifespan="on")


def time_fence(calls: int) -> float:
    """CPU microseconds that the gateway's fence takes in the transaction of a call."""
    with tempfile.TemporaryDirectory() as home:
        engine = open_engine(f"sqlite:///{Path(home) / 'control.db'}")
        create_tables(engine)
        with Session(engine) as db, db.begin():
            db.add(running_session())
        with engine.begin() as db:
            started = time.process_time()
            for _ in range(calls):
                is_running(db, "s1", 1)
            return (time.process_time() - started) / calls * 1e6


def running_session() -> SessionRow:
    """What the gateway's fence looks at, at each call."""
    names = ("created_by", "created_user", "instruction", "create_time", "update_time")
    words: dict[str, Any] = dict.fromkeys(names, "")
    return SessionRow(id="s1", slot=1, account="acme", status="running", epoch=1, **words)


def plan() -> Plan:
    """A plan that grants any number of questions."""
    rules = {
        "body.model": Rule.exactly(CHAT["model"]),
        "body.messages": Rule(max_bytes=100_000),
        "body.max_tokens": Rule(minimum=1, maximum=64),
    }
    spec = GrantSpec(
        id="ask", gate="plan_approval", method="CreateChatCompletion", rules=rules, max_calls=10**9,
        max_cost=Decimal(0), phase=Phase.EVALUATE, text="questions",
    )  # fmt: skip
    data = PlanDataset(
        source="d", content_hash="0", rows=1, train_rows=1, heldout_rows=1, sweep_rows=1, train_tokens=1,
        heldout_tokens=1, sweep_tokens=1, seed=1, split="",
    )  # fmt: skip
    return Plan(
        session="s1", workflow="sft", instruction="", dataset=data, base_models=[], values=[], candidates=[],
        cost=Cost(lines=[], price_source=""), grants=[spec], expires=datetime.now(UTC) + timedelta(hours=1),
    )  # fmt: skip


def facts(verb: str, path: str, query: str = "", body: dict[str, Any] | None = None) -> RequestFacts:
    """A request with the headers that httpx sends."""
    raw = b"" if body is None else json.dumps(body).encode()
    names = {"host": "gateway", "accept": "*/*", "accept-encoding": "gzip", "user-agent": "python-httpx/0.28.1"}
    names |= {"content-type": "application/json", "content-length": str(len(raw))} if body is not None else {}
    headers = [(name.encode(), value.encode()) for name, value in names.items()]
    return RequestFacts(verb, path.encode(), query.encode(), headers, raw)


def time_decisions(count: int) -> dict[str, float]:
    """Median microseconds of one decision, per kind of request."""
    jobs = "/v1/accounts/acme/supervisedFineTuningJobs"
    cases = {
        "read": facts("GET", READ),
        "list": facts("GET", jobs, "pageSize=50&filter=state%3D%22JOB_STATE_RUNNING%22"),
        "job": facts("POST", jobs, "supervisedFineTuningJobId=ft-1", JOB),
        "chat": facts("POST", "/inference/v1/chat/completions", "", CHAT),
        "refused": facts("DELETE", READ),
    }
    result = {}
    for name, case in cases.items():
        times = []
        for _ in range(count):
            start = time.perf_counter_ns()
            decide(case, ME.caller)
            times.append((time.perf_counter_ns() - start) / 1000)
        result[name] = statistics.median(times)
    return result


def time_calls(direct: str, doors: Sequence[Door], count: int) -> list[Added]:
    """The same calls, direct and through each door, in turn."""
    found: list[Added] = []
    with httpx.Client(base_url=direct) as plain:
        for door in doors:
            with httpx.Client(base_url=door.url, headers=door.headers) as guarded:
                found += [time_pairs(door, name, plain, guarded, count) for name in door.calls]
    return found


def time_pairs(door: Door, name: str, plain: httpx.Client, guarded: httpx.Client, count: int) -> Added:
    """One kind of call, each pair one after the other, so that both see the same machine."""
    pairs: list[tuple[float, float]] = []
    for number in range(-20, count):
        if number == 0:
            before = cpu_seconds(door.process)
        pairs.append((time_call(plain, name), time_call(guarded, name)))
    cpu = (cpu_seconds(door.process) - before) / count * 1000  # pyright: ignore[reportPossiblyUnboundVariable]
    return Added(f"{door.name} {name}", pairs[20:], cpu, door.target)


def time_call(client: httpx.Client, name: str) -> float:
    """Milliseconds of one call."""
    begin = time.perf_counter()
    assert CALLS[name](client).status_code == 200
    return (time.perf_counter() - begin) * 1000


def start(target: Callable[..., None], *arguments: Any) -> tuple[multiprocessing.Process, str]:
    """Start a server process; its URL when it listens."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=target, args=(sender, *arguments), daemon=True)
    process.start()
    return process, receiver.recv()  # type: ignore[return-value]


def cpu_seconds(process: multiprocessing.Process) -> float:
    """User and system time of a process so far: what the gateway costs when the machine is not idle."""
    times = psutil.Process(process.pid).cpu_times()
    return times.user + times.system


def report(decisions: dict[str, float], calls: Sequence[Added]) -> bool:
    """Print all numbers and a verdict on each target; whether every target is met."""
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    print(f"decision, median microseconds (target < {DECISION_US})")
    for name, value in decisions.items():
        print(f"  {name:14} {value:8.1f}  {verdict(value < DECISION_US)}")
    print(f"added to a local call, milliseconds (target: median < {ADDED_MS:g}); CPU of the gateway's process per call")
    print("                 direct  through    added  fastest      CPU")
    for row in calls:
        numbers = f"{row.direct:8.2f} {row.through:8.2f} {row.added:8.2f} {row.fastest:8.2f} {row.cpu:8.2f}"
        print(f"  {row.name:14}{numbers}  {verdict(row.met) if row.target else '(no target)'}")
    busy = " (busy: wall times say more about the neighbours)" if load > cores / 2 else ""
    print(f"load average {load:.1f} on {cores} cores{busy}")
    return all(value < DECISION_US for value in decisions.values()) and all(row.met for row in calls if row.target)


def verdict(met: bool) -> str:
    """For one line of the report."""
    return "met" if met else "MISSED"


def measure(count: int) -> list[Added]:
    """Start the servers, time the calls, stop them."""
    with tempfile.TemporaryDirectory() as home:
        platform_process, direct = start(serve_platform)
        session_process, session_url = start(serve_gateway, home, direct)
        user_process, user_url = start(serve_control, home, direct)
        key = (Path(home) / "control" / "admin.key").read_text().strip()
        doors = [
            Door("session", session_process, session_url, ("read", "chat"), {}, target=True),
            Door("user", user_process, user_url, ("read",), {"authorization": f"Bearer {key}"}, target=False),
        ]
        try:
            return time_calls(direct, doors, count)
        finally:
            for process in (user_process, session_process, platform_process):
                process.terminate()
                process.join()


def main() -> int:
    """Measure and print; with --strict, 1 when a target is missed."""
    parser = argparse.ArgumentParser(description="What the gateway costs.")
    parser.add_argument("--calls", type=int, default=400)
    parser.add_argument("--strict", action="store_true", help="exit with 1 when a target is missed")
    options = parser.parse_args()
    print(f"fence of a turn: {time_fence(options.calls * 50):.0f} us of CPU per call")
    met = report(time_decisions(max(options.calls * 5, 1000)), measure(options.calls))
    return 0 if met or not options.strict else 1


if __name__ == "__main__":
    sys.exit(main())
