"""How long a runner takes to start: forked from a pre-imported parent, and as a program of its own, side by side.

    python -m benchmarks.turn_start [--starts 20]

Each start is the whole way that a turn takes: hand over the folders, build the sandbox, run `runner.main`. It is ready
when it asks for its context over its socket. Starts by fork and by exec take turns. CPU seconds are those of everything
that was started for the runner until then; they do not depend on what else the machine does.
"""

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import psutil

from agent.processes import stop_process
from agent.sockets import SOCKET_NAME
from runner.sandbox.child import Process
from runner.sandbox.launch import launch
from runner.sandbox.spec import LaunchSpec
from runner.sandbox.zygote.client import Zygote

UID = 239_999
Start = Callable[[LaunchSpec], Awaitable[Process]]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--starts", type=int, default=20)
    asyncio.run(compare(parser.parse_args().starts))


async def compare(starts: int) -> None:
    """Both ways, by turns."""
    zygote, began = Zygote(), time.perf_counter()
    await measure(zygote.launch)
    print(f"zygote ready after {time.perf_counter() - began:.2f} s")
    ways: dict[str, Start] = {"fork": zygote.launch, "exec": launch}
    times: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    for _ in range(starts):
        for way, start in ways.items():
            times[way].append(await measure(start))
    for way, pairs in times.items():
        wall, cpu = ([pair[index] for pair in pairs] for index in (0, 1))
        print(f"{way}: {_describe(wall)} s wall, {_describe(cpu)} s CPU")
    assert zygote.pid
    memory = psutil.Process(zygote.pid).memory_full_info()
    print(f"zygote: {memory.rss >> 20} MB resident, {memory.uss >> 20} MB of its own")
    await zygote.aclose()


async def measure(start: Start) -> tuple[float, float]:
    """Wall and CPU seconds until the runner's first request."""
    with tempfile.TemporaryDirectory(prefix="pl-") as name:
        folder, ready = Path(name), asyncio.Event()
        spec = _describe_runner(folder)
        server = await asyncio.start_unix_server(lambda _reader, _writer: ready.set(), folder / "socket" / SOCKET_NAME)
        (folder / "socket" / SOCKET_NAME).chmod(0o666)
        began = time.perf_counter()
        process = await start(spec)
        await asyncio.wait_for(ready.wait(), 120)
        wall = time.perf_counter() - began
        cpu = _sum_cpu(process.pid)
        await stop_process(process)
        server.close()
        return wall, cpu


def _describe_runner(folder: Path) -> LaunchSpec:
    for inner in ("work", "socket"):
        (folder / inner).mkdir()
    uid = UID if os.getuid() == 0 else None
    return LaunchSpec(session="bench", workspace=folder / "work", socket_directory=folder / "socket", uid=uid)


def _sum_cpu(pid: int) -> float:
    process = psutil.Process(pid)
    spent = [one.cpu_times() for one in (process, *process.children(recursive=True))]
    return sum(times.user + times.system + times.children_user + times.children_system for times in spent)


def _describe(values: list[float]) -> str:
    return f"median {statistics.median(values):.3f}, max {max(values):.3f}"


if __name__ == "__main__":
    main()
