"""Our dispatcher beside DBOS queues, both on SQLite: from enqueueing a turn to its start, and what the import costs.

    pip install 'dbos>=3.4,<3.5' && python -m benchmarks.dispatch [--turns 40]

Each side runs in a process of its own, in turn. `hinted`: enqueued by the process that runs it, one turn after the
other. `polled`: enqueued by another process. What starts is an empty function on both sides: no runner, no sandbox.
Latencies in milliseconds; CPU seconds and MiB are what the import adds to a process that runs turns.
"""

import argparse
import asyncio
import json
import logging
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
BASE = "import agent.turn_api, agent.sockets, gateway"
"""What a process that runs turns imports in any case."""
IMPORTS = {"ours": "import agent.dispatch", "dbos": "import dbos"}
_COST = (
    "import resource, sys\n{line}\n"
    "used = resource.getrusage(resource.RUSAGE_SELF)\n"
    "print(used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)"
)


def main() -> None:
    """Measure both sides and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=40)
    parser.add_argument("--side", choices=list(IMPORTS), help=argparse.SUPPRESS)
    parser.add_argument("--enqueue", metavar="HOME", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side is None:
        for side in IMPORTS:
            print(report(side, options.turns), flush=True)
    elif options.enqueue:
        print(json.dumps(ENQUEUERS[options.side](Path(options.enqueue), options.turns)))
    else:
        with tempfile.TemporaryDirectory(prefix="pl-") as home:
            print(json.dumps(SIDES[options.side](Path(home), options.turns)))


def report(side: str, turns: int) -> str:
    """One line about one side."""
    base, full = _cost_of(BASE), _cost_of(f"{BASE}\n{IMPORTS[side]}")
    command = [sys.executable, "-m", "benchmarks.dispatch", "--side", side, "--turns", str(turns)]
    found = json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout.splitlines()[-1])
    latencies = "; ".join(
        f"{way} p50 {_middle(times):.0f}, max {max(times) * 1000:.0f}" for way, times in found.items()
    )
    return f"{side}: {latencies} ms; its import adds {full[0] - base[0]:.2f} CPU s, {full[1] - base[1]:.0f} MiB"


def run_ours(home: Path, turns: int) -> dict[str, list[float]]:
    """Latencies of our dispatcher, by how it learns of a turn."""
    return asyncio.run(_dispatch_ours(home, turns))


def run_dbos(home: Path, turns: int) -> dict[str, list[float]]:
    """Latencies of a DBOS queue."""
    from dbos import DBOS  # pyright: ignore[reportMissingImports]

    started: dict[str, float] = {}
    DBOS(config={"name": "bench", "system_database_url": _url(home), "log_level": "ERROR"})

    @DBOS.workflow(name="turn")  # pyright: ignore[reportUntypedFunctionDecorator]
    def turn(name: str) -> None:
        started[name] = time.time()

    DBOS.launch()
    queue = DBOS.register_queue("turns", polling_interval_sec=0.5)
    hinted = list[float]()
    for number in range(turns):
        name, sent = f"h{number}", time.time()
        queue.enqueue(turn, name)
        _wait(started, [name])
        hinted.append(started[name] - sent)
    sent_at = _enqueue_elsewhere("dbos", home, turns)
    _wait(started, list(sent_at))
    DBOS.destroy()
    return {"hinted": hinted, "polled": [started[name] - sent for name, sent in sent_at.items()]}


def enqueue_ours(home: Path, turns: int) -> dict[str, float]:
    """Pending sessions, written by a process that runs none; when each was sent."""
    from pilotlight.database import open_engine

    engine = open_engine(_url(home))
    return _pace(turns, lambda name, number: _add(engine, name, turns + number))


def enqueue_dbos(home: Path, turns: int) -> dict[str, float]:
    """The same with the client of DBOS."""
    from dbos import DBOSClient  # pyright: ignore[reportMissingImports]

    client = DBOSClient(system_database_url=_url(home))
    return _pace(turns, lambda name, _: client.enqueue({"queue_name": "turns", "workflow_name": "turn"}, name))  # pyright: ignore[reportUnknownLambdaType]


async def _dispatch_ours(home: Path, turns: int) -> dict[str, list[float]]:
    from agent.dispatch import Dispatcher
    from agent.launchers import Launcher
    from agent.store import create_tables
    from agent.turns import Turn
    from pilotlight.database import open_engine
    from pilotlight.identity import bootstrap
    from pilotlight.settings import Settings
    from runner.sandbox.child import Process

    started: dict[str, float] = {}

    class Start(Launcher):
        async def __call__(self, turn: Turn, workspace: Path, socket_folder: Path) -> Process:
            started[turn.session] = time.time()
            raise OSError("this benchmark starts nothing")

    logging.disable(logging.WARNING)  # each of its turns ends with an error: there is no runner
    engine = open_engine(_url(home))
    create_tables(engine)
    bootstrap(engine, "acct")
    dispatcher = Dispatcher(engine, Settings(home=home, account="acct"), Start())
    await dispatcher.start(_nothing)
    hinted = list[float]()
    for number in range(turns):
        sent = time.time()
        _add(engine, f"h{number}", number)
        dispatcher.enqueue(f"h{number}")
        while f"h{number}" not in started:
            await asyncio.sleep(0.001)
        hinted.append(started[f"h{number}"] - sent)
    sent_at = await asyncio.to_thread(_enqueue_elsewhere, "ours", home, turns)
    while not all(name in started for name in sent_at):
        await asyncio.sleep(0.01)
    await dispatcher.close()
    return {"hinted": hinted, "polled": [started[name] - sent for name, sent in sent_at.items()]}


def _add(engine: Any, name: str, number: int) -> None:
    """What creating a session comes to for the dispatcher: a committed row."""
    from agent.store import writing
    from agent.tables import SessionRow

    words: dict[str, Any] = dict.fromkeys(("created_by", "instruction", "create_time", "update_time"), "")
    row = SessionRow(id=name, slot=number + 1, account="acct", created_user="admin", status="pending", turn=1, **words)
    with writing(engine) as db:
        db.add(row)


def _enqueue_elsewhere(side: str, home: Path, turns: int) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.dispatch", "--side", side, "--turns", str(turns), "--enqueue", home]
    found = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout
    return json.loads(found.splitlines()[-1])


def _pace(turns: int, send: Callable[[str, int], Any]) -> dict[str, float]:
    """One after the other, at moments that have nothing to do with anybody's polling."""
    sent = dict[str, float]()
    for number in range(turns):
        sent[f"p{number}"] = time.time()
        send(f"p{number}", number)
        time.sleep(0.217)
    return sent


def _wait(started: dict[str, float], names: list[str]) -> None:
    while not all(name in started for name in names):
        time.sleep(0.001)


def _url(home: Path) -> str:
    return f"sqlite:///{home / 'bench.db'}"


def _cost_of(lines: str) -> tuple[float, float]:
    """CPU seconds and MiB of a fresh interpreter that runs `lines`: the least of some starts, the first compiles."""
    found = list[tuple[float, float]]()
    for _ in range(4):
        code = _COST.format(line=lines)
        run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, stdout=subprocess.PIPE)
        seconds, size = run.stdout.split()
        found.append((float(seconds), float(size)))
    return min(found)


def _middle(times: list[float]) -> float:
    return statistics.median(times) * 1000


async def _nothing(scope: Any, receive: Any, send: Any) -> None:
    """The surface of turns that never speak."""


SIDES = {"ours": run_ours, "dbos": run_dbos}
ENQUEUERS = {"ours": enqueue_ours, "dbos": enqueue_dbos}


if __name__ == "__main__":
    main()
