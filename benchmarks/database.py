"""Transactions that append one event, per second, and how long each takes: SQLite and PostgreSQL side by side.

    python -m benchmarks.database [--seconds 5] [--writers 1 4 16]

Each transaction is what a runner's event costs: the next number of the session's log, its row, a commit on disk.
PostgreSQL is a server of the benchmark's own, with fsync, reached over the loopback; both databases lie on the disk of
the temporary folder. They are measured in turn, writers are threads of one process, each with a session of its own.
"""

import argparse
import statistics
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path

from sqlalchemy import Engine
from sqlmodel import Session

from agent import journal
from agent.store import create_tables
from agent.tables import SessionRow
from pilotlight.database import open_engine
from pilotlight.schema import migrate
from tests.fixtures.postgres import postgres_server

PAYLOAD = {"text": "x" * 200}


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--writers", type=int, nargs="+", default=[1, 4, 16])
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pl-db-")))
        server = stack.enter_context(postgres_server())
        urls = {"SQLite": f"sqlite:///{folder / 'control.db'}", "PostgreSQL": server.url()}
        engines = {name: prepare(url, max(options.writers)) for name, url in urls.items()}
        print(f"{'writers':>7} {'database':>10} {'per second':>10} {'median ms':>9} {'p99 ms':>8}")
        for writers in options.writers:
            for name, engine in engines.items():
                times = measure(engine, writers, options.seconds)
                percentiles = statistics.quantiles(times, n=100)
                rate = len(times) / options.seconds
                middle, late = percentiles[49] * 1000, percentiles[98] * 1000
                print(f"{writers:>7} {name:>10} {rate:>10.0f} {middle:>9.2f} {late:>8.2f}")
        for engine in engines.values():
            engine.dispose()


def prepare(url: str, sessions: int) -> Engine:
    """A control database with sessions to append to."""
    engine = open_engine(url)
    migrate(engine)
    create_tables(engine)
    with Session(engine) as db, db.begin():
        db.add_all(_session(number) for number in range(sessions))
    return engine


def measure(engine: Engine, writers: int, seconds: float) -> list[float]:
    """Seconds of each transaction that ended within the time."""
    times: list[float] = []
    threads = [threading.Thread(target=_append, args=(engine, str(n), seconds, times)) for n in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return times


def _append(engine: Engine, session: str, seconds: float, times: list[float]) -> None:
    end = time.perf_counter() + seconds
    while (start := time.perf_counter()) < end:
        with Session(engine) as db, db.begin():
            journal.append(db, session, "job", PAYLOAD)
        times.append(time.perf_counter() - start)


def _session(number: int) -> SessionRow:
    return SessionRow(
        id=str(number),
        slot=number,
        account="bench",
        created_by="",
        created_user="",
        instruction="",
        status="running",
        create_time="",
        update_time="",
    )


if __name__ == "__main__":
    main()
