"""Many sessions of the adversary against the real control process, with crashes and faults; then the evidence."""

import asyncio
import json
import logging
import sqlite3
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import httpx

from cli.up import free_port
from tests.adversary.person import Person
from tests.adversary.platform import FaultyPlatform
from tests.adversary.process import ControlProcess
from tests.fixtures.asgi import serving


@dataclass(frozen=True)
class Options:
    """What a campaign is. `kills`: how often the control process is killed with SIGKILL."""

    sessions: int
    seed: int
    kills: int
    sandbox: str = "none"
    limit_seconds: float = 1800


@dataclass
class Evidence:
    """All that the checker looks at."""

    platform: FaultyPlatform
    person: Person
    home: Path
    outages: list[tuple[float, float]]
    """From each kill of the control process until it answered again, in seconds since the epoch."""
    seconds: float
    ended: float
    """Seconds since the epoch."""
    crashes: int
    """Turns that ended by a signal."""
    families: dict[str, Counter[int]] = field(default_factory=dict[str, Counter[int]])
    """Family -> HTTP codes of its answers (0: none)."""

    @property
    def database(self) -> Path:
        """The control database."""
        return self.home / "control.db"

    @property
    def kills(self) -> int:
        """How often the control process was killed."""
        return len(self.outages)

    @property
    def calls(self) -> int:
        """Requests that the adversaries sent."""
        return sum(counter.total() for counter in self.families.values())


def run(options: Options, home: Path) -> Evidence:
    """Run a campaign to its end. Raises AssertionError when it does not come to rest or the control process breaks."""
    platform = FaultyPlatform(options.seed)
    logging.getLogger("uvicorn.error").addFilter(lambda _: False)  # each answer that is broken off is an error to it
    with serving(platform.app(), lifespan="off") as url:
        control = ControlProcess(home, url, free_port(), options.sandbox)
        control.start()
        started = time.monotonic()
        try:
            person = asyncio.run(_drive(options, control))
        finally:
            control.stop()
    seconds = time.monotonic() - started
    return Evidence(platform, person, home, control.outages, seconds, time.time(), _crashes(home), _tally(home))


async def _drive(options: Options, control: ControlProcess) -> Person:
    headers = {"authorization": f"Bearer {control.key}"}
    async with httpx.AsyncClient(base_url=control.url, headers=headers, timeout=60) as http:
        person = Person(http, control.home / "control.db", Random(options.seed))
        deadline = time.monotonic() + options.limit_seconds
        begin = asyncio.create_task(person.begin(options.sessions, options.seed))
        rng = Random(options.seed)
        while person.done() < options.sessions:
            assert time.monotonic() < deadline, f"{person.done()} of {options.sessions} sessions are at rest"
            await person.look()
            await asyncio.sleep(0.1)
            if person.done() >= options.sessions * (len(control.outages) + 1) / (options.kills + 1) < options.sessions:
                await asyncio.sleep(rng.random() * 0.5)
                await asyncio.to_thread(control.kill)
                await asyncio.to_thread(control.start)
        await begin
        return person


def _tally(home: Path) -> dict[str, Counter[int]]:
    families: dict[str, Counter[int]] = {}
    for path in (home / "sessions").glob("*/work/adversary.jsonl"):
        for line in path.read_text().splitlines():
            entry = json.loads(line)
            families.setdefault(entry["family"], Counter())[int(entry["code"])] += 1
    return families


def _crashes(home: Path) -> int:
    with sqlite3.connect(home / "control.db") as db:
        return int(db.execute("SELECT count(*) FROM turns WHERE exit_code < 0 OR exit_code > 128").fetchone()[0])
