"""What waiting sessions cost: memory, start-up, lists and single reads, with none and with ten thousand of them.

    python -m benchmarks.waiting [--sessions 10000]

The sessions are made by the product's own functions, as its routes and turns call them: created, begun, a question
asked, the turn ended. Then the real server is started on that database (SQLite) and asked over HTTP, one request after
another.
"""

import argparse
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
from sqlalchemy import Engine

from agent.app import build_app
from agent.leases import Holder
from agent.questions import ask_question
from agent.sessions import create_session
from agent.store import load_session, writing
from agent.turns import Ending, begin_turn, end_turn
from agent.wire import CreateSession
from pilotlight.database import open_engine
from pilotlight.identity import Principal
from pilotlight.identity.principal import Role
from pilotlight.question import Question, QuestionKind
from pilotlight.settings import Settings

SESSIONS = "/v1/accounts/local/sessions"
ME = Principal(
    account="local", user="admin", role=Role.ADMIN, email="admin@local", preset=None, service_account=False, key_id=""
)
HOLDER = Holder("benchmark", "benchmark")
QUERIES: dict[str, dict[str, Any]] = {
    "list, first page": {},
    "list, waiting ones": {"filter": 'status = "waiting"'},
    "list, a text in the question": {"filter": 'statusInfo : "number 77"'},
    "list, 200 by update time": {"orderBy": "updateTime desc", "pageSize": 200},
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=10_000)
    options = parser.parse_args()
    for count in (0, options.sessions):
        with tempfile.TemporaryDirectory(prefix="pl-") as folder:
            settings = Settings(home=Path(folder), sandbox="none", log_level="warning")
            names = fill(settings, count)
            with start(settings) as (process, client, seconds):
                print(f"{count} waiting sessions: healthy after {seconds:.2f} s, {_size(process):.0f} MB, ", end="")
                time.sleep(5)
                before = process.cpu_times()
                time.sleep(10)
                after = process.cpu_times()
                print(f"idle CPU {10 * (after.user + after.system - before.user - before.system):.1f}% of a core")
                for label, query in QUERIES.items():
                    _report(label, client, [("", query)] * 20)
                if names:
                    _report("get", client, [(f"/{name}", {}) for name in names[:: len(names) // 100]])
                    print(f"afterwards {_size(process):.0f} MB, {len(process.children())} processes beside the server")


def fill(settings: Settings, count: int) -> list[str]:
    """Make so many sessions that wait for an answer; returns their IDs."""
    build_app(settings)
    engine = open_engine(settings.control_database_url)
    begun = time.perf_counter()
    names = [make_waiting(engine, settings, number) for number in range(count)]
    engine.dispose()
    if names:
        print(f"made {count} in {time.perf_counter() - begun:.0f} s")
    return names


def make_waiting(engine: Engine, settings: Settings, number: int) -> str:
    """One session with an open question."""
    body = CreateSession(instruction=f"Run SFT on my data, number {number}.")
    session = create_session(engine, settings, ME, body)[0]["sessionId"]
    with writing(engine) as db:
        turn = begin_turn(db, session, HOLDER, 3600.0)
    if turn is None:
        raise SystemExit(f"Session {session} did not begin.")
    text = f"Which dataset and which base model should number {number} use? " + "More words. " * 40
    with writing(engine) as db:
        question = Question(question_id="q1-input", kind=QuestionKind.MISSING_INPUT, text=text)
        ask_question(db, load_session(db, session), question, turn.epoch, settings)
    end_turn(engine, turn, Ending(0, ""))
    return session


@contextmanager
def start(settings: Settings) -> Generator[tuple[psutil.Process, httpx.Client, float]]:
    """The server on this home; yields it with a client and the seconds until it answered."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    own = {"HOME": settings.home, "PORT": port, "SANDBOX": "none", "PLATFORM_KEY": "unused", "LOG_LEVEL": "warning"}
    environment = os.environ | {f"PILOTLIGHT_{name}": str(value) for name, value in own.items()}
    begun = time.perf_counter()
    child = subprocess.Popen([sys.executable, "-m", "agent.serve"], env=environment)
    key = (settings.home / "admin.key").read_text().strip()
    client = httpx.Client(base_url=f"http://127.0.0.1:{port}", headers={"authorization": f"Bearer {key}"}, timeout=60)
    try:
        while not _answers(client):
            if child.poll() is not None:
                raise SystemExit("The server did not start.")
            time.sleep(0.02)
        yield psutil.Process(child.pid), client, time.perf_counter() - begun
    finally:
        client.close()
        child.terminate()
        child.wait(30)


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/healthz").status_code == 200
    except httpx.TransportError:
        return False


def _report(label: str, client: httpx.Client, requests: list[tuple[str, dict[str, Any]]]) -> None:
    times: list[float] = []
    for path, query in requests:
        begun = time.perf_counter()
        client.get(SESSIONS + path, params=query).raise_for_status()
        times.append((time.perf_counter() - begun) * 1e3)
    times.sort()
    print(f"{label:>30}: p50 {statistics.median(times):.1f} ms, max {times[-1]:.1f} ms")


def _size(process: psutil.Process) -> float:
    return process.memory_info().rss / 2**20


if __name__ == "__main__":
    main()
