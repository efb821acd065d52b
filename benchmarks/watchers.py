"""A thousand watchers of one control process: delay, CPU, memory, and whether each saw everything once.

    python -m benchmarks.watchers [--watchers 1000] [--sessions 20] [--rate 1] [--seconds 30]

The real server as a process (SQLite), with a small runner process per session that writes an event `--rate` times a
second over its turn's socket. Watchers are real connections of this process, spread evenly over the sessions; the delay
of an event is from just before the runner sends it to when the watcher has it. Fails when a watcher missed an event,
saw one twice, or out of order.
"""

import argparse
import asyncio
import json
import os
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx
import psutil

from agent.launchers import PlainLauncher
from agent.serve import main as serve

_RUNNER = Path(__file__).with_name("writing_runner.py")
_PLAN = "benchmark.json"


class Seen(NamedTuple):
    """What one watcher got."""

    seqs: list[int]
    delays: list[float]
    status: str


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--watchers", type=int, default=1000)
    parser.add_argument("--sessions", type=int, default=20)
    parser.add_argument("--rate", type=float, default=1.0)
    parser.add_argument("--seconds", type=float, default=30.0)
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory(prefix="pl-") as folder, _serve(Path(folder), options) as (url, process):
        asyncio.run(measure(url, Path(folder), process, options))


async def measure(url: str, home: Path, process: psutil.Process, options: argparse.Namespace) -> None:
    """Connect everybody while the sessions are quiet, let them write, compare."""
    key = (home / "admin.key").read_text().strip()
    client = httpx.AsyncClient(base_url=url, headers={"authorization": f"Bearer {key}"}, timeout=60)
    sessions = [await _create(client) for _ in range(options.sessions)]
    for session in sessions:
        while (await client.get(f"/v1/accounts/local/sessions/{session}")).json()["status"] != "running":
            await asyncio.sleep(0.1)
    before = process.memory_info().rss
    begun = time.perf_counter()
    host, port = httpx.URL(url).host, httpx.URL(url).port or 80
    ready = asyncio.Semaphore(0)
    names = [sessions[number % len(sessions)] for number in range(options.watchers)]
    tasks = [asyncio.create_task(watch(host, port, key, name, ready)) for name in names]
    for _ in tasks:
        await ready.acquire()
    connected = time.perf_counter() - begun
    await asyncio.sleep(2)
    idle_from, cpu = time.perf_counter(), _cpu(process)
    await asyncio.sleep(10)
    idle = (_cpu(process) - cpu) / (time.perf_counter() - idle_from)
    memory = process.memory_info().rss - before
    (home / "go").touch()
    busy_from, cpu = time.perf_counter(), _cpu(process)
    seen = await asyncio.gather(*tasks)
    busy = (_cpu(process) - cpu) / (time.perf_counter() - busy_from)
    await _check(client, names, seen)
    await client.aclose()
    delays = sorted(delay for watcher in seen for delay in watcher.delays)
    rate = f"{options.rate:g} events a second each"
    print(f"{len(names)} watchers of {len(sessions)} sessions, {rate}: {len(delays)} deliveries")
    print(f"connected in {connected:.1f} s; each saw all {len(seen[0].seqs)} events of its session once, in order")
    middle, late = statistics.median(delays), delays[int(len(delays) * 0.99)]
    print(f"delay: p50 {middle * 1e3:.0f} ms, p99 {late * 1e3:.0f} ms, max {delays[-1] * 1e3:.0f} ms")
    load = f"CPU {100 * busy:.0f}% of a core busy, {100 * idle:.1f}% idle"
    print(f"server: {memory / len(names) / 1024:.0f} KB per watcher, {load}")


async def watch(host: str, port: int, key: str, session: str, ready: asyncio.Semaphore) -> Seen:
    """Follow one session to its end."""
    reader, writer = await asyncio.open_connection(host, port, limit=1 << 20)
    path = f"/v1/accounts/local/sessions/{session}/events:stream"
    writer.write(f"GET {path} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {key}\r\n\r\n".encode())
    seen, told = Seen([], [], ""), False
    while line := await reader.readline():
        if not line.startswith(b"data: "):
            continue
        event, now = json.loads(line[6:]), time.time()
        if "seq" not in event:
            seen = seen._replace(status=event["status"])
            break
        seen.seqs.append(int(event["seq"]))
        if "sent" in event["payload"]:
            seen.delays.append(now - event["payload"]["sent"])
        if not told:
            told = True
            ready.release()
    writer.close()
    return seen


async def _create(client: httpx.AsyncClient) -> str:
    reply = await client.post("/v1/accounts/local/sessions", json={"instruction": "Write events."})
    return reply.raise_for_status().json()["sessionId"]


async def _check(client: httpx.AsyncClient, names: list[str], seen: list[Seen]) -> None:
    ends = {
        name: int((await client.get(f"/v1/accounts/local/sessions/{name}")).json()["lastSeq"]) for name in set(names)
    }
    for name, watcher in zip(names, seen, strict=True):
        if watcher.seqs != list(range(1, ends[name] + 1)) or watcher.status != "succeeded":
            raise SystemExit(f"A watcher of {name} saw {watcher.seqs} of {ends[name]}, then {watcher.status!r}.")


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


@contextmanager
def _serve(home: Path, options: argparse.Namespace) -> Generator[tuple[str, psutil.Process]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (home / _PLAN).write_text(json.dumps({"rate": options.rate, "seconds": options.seconds}))
    own = {"HOME": home, "PORT": port, "SANDBOX": "none", "PLATFORM_KEY": "unused", "LOG_LEVEL": "warning"}
    own["CONCURRENT_TURNS"] = options.sessions
    environment = os.environ | {f"PILOTLIGHT_{name}": str(value) for name, value in own.items()}
    child = subprocess.Popen([sys.executable, "-m", "benchmarks.watchers", "serve"], env=environment)
    try:
        url = f"http://127.0.0.1:{port}"
        while not _answers(url):
            if child.poll() is not None:
                raise SystemExit("The server did not start.")
            time.sleep(0.1)
        yield url, psutil.Process(child.pid)
    finally:
        child.terminate()
        child.wait(30)


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz").status_code == 200
    except httpx.TransportError:
        return False


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        serve(PlainLauncher([sys.executable, "-S", "-P", str(_RUNNER)]))
    else:
        main()
