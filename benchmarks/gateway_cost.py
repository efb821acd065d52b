"""What the gateway costs: the time of one decision, and the latency it adds to a local call, measured in turn.

    python benchmarks/gateway_cost.py [--calls 400]

Platform, gateway and client are three processes on one machine. Targets, median: decision < 100 us, added < 2 ms.
"""

import argparse
import json
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import httpx
import psutil
import uvicorn
from pydantic import SecretStr
from sqlmodel import Session
from starlette.requests import Request

from gateway import Gateway, PlatformClient, Principal, grants
from manifest.decide import decide
from manifest.facts import RequestFacts
from pilotlight.database import open_engine
from pilotlight.plan import Cost, GrantSpec, Phase, Plan, PlanDataset, Rule
from pilotlight.settings import Settings

ME = Principal("session", "acme", session="s1", user="ann")
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
READ = "/v1/accounts/acme/supervisedFineTuningJobs/ft-1"
ANSWER = json.dumps({"name": READ, "state": "JOB_STATE_RUNNING"} | JOB).encode()


async def platform(scope: Any, receive: Any, send: Any) -> None:
    """The smallest thing that answers: reads the body, sends 400 bytes."""
    while (await receive()).get("more_body"):
        pass
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(ANSWER)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": ANSWER})


def serve(app: Any, ready: Connection) -> None:
    """Run an ASGI app in this process and tell its URL."""
    config = uvicorn.Config(app, port=0, log_level="warning", access_log=False, lifespan="off", interface="asgi3")
    sock = config.bind_socket()
    ready.send(f"http://127.0.0.1:{sock.getsockname()[1]}")
    uvicorn.Server(config).run([sock])


def serve_platform(ready: Connection) -> None:
    """Entry of the platform's process."""
    serve(platform, ready)


def serve_gateway(ready: Connection, home: str, url: str) -> None:
    """Entry of the gateway's process: a real database, a real grant."""
    engine = open_engine(f"sqlite:///{Path(home) / 'control.db'}")
    gateway = Gateway(engine, Settings(platform_key=SecretStr("fw_x")), PlatformClient(url))
    with Session(engine) as db, db.begin():
        grants.write(db, "s1", plan(), "plan_approval", "ann")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        response = await gateway.forward(ME, Request(scope, receive))
        await response(scope, receive, send)

    serve(app, ready)


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


def time_calls(direct: str, through: str, count: int) -> dict[str, dict[str, float]]:
    """Median milliseconds of the same call, direct and through the gateway, in turn."""
    calls: dict[str, Callable[[httpx.Client], httpx.Response]] = {
        "read": lambda client: client.get(READ),
        "chat": lambda client: client.post("/inference/v1/chat/completions", json=CHAT),
    }
    result = {}
    with httpx.Client(base_url=direct) as plain, httpx.Client(base_url=through) as guarded:
        for name, call in calls.items():
            times: dict[str, list[float]] = {"direct": [], "gateway": []}
            for _ in range(count):
                for kind, client in (("direct", plain), ("gateway", guarded)):
                    start = time.perf_counter()
                    assert call(client).status_code == 200
                    times[kind].append((time.perf_counter() - start) * 1000)
            medians = {kind: statistics.median(values) for kind, values in times.items()}
            result[name] = medians | {"added": medians["gateway"] - medians["direct"]}
    return result


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


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="What the gateway costs.")
    parser.add_argument("--calls", type=int, default=400)
    count = parser.parse_args().calls
    decisions = time_decisions(max(count * 5, 1000))
    with tempfile.TemporaryDirectory() as home:
        upstream, direct = start(serve_platform)
        front, through = start(serve_gateway, home, direct)
        time_calls(direct, through, 20)
        before = cpu_seconds(front)
        calls = time_calls(direct, through, count)
        cpu = (cpu_seconds(front) - before) / (count * len(calls)) * 1000
        for process in (front, upstream):
            process.terminate()
            process.join()
    print("decision, median microseconds (target < 100)")
    for name, value in decisions.items():
        print(f"  {name:8} {value:8.1f}")
    print(f"local call, median ms of {count} (target: added < 2)")
    print(
        f"  load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; gateway process: {cpu:.2f} ms CPU per call"
    )
    for name, row in calls.items():
        print(f"  {name:8} direct {row['direct']:.2f}  gateway {row['gateway']:.2f}  added {row['added']:.2f}")


if __name__ == "__main__":
    main()
