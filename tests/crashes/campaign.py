"""Sessions that go on while their processes are killed, at named points or at random; then the evidence."""

import asyncio
import os
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import httpx

from tests.crashes.disturbances import DISTURBANCES
from tests.crashes.person import Log, Person
from tests.crashes.shapes import DATASET, make_rows
from tests.crashes.stored import read_tables
from tests.crashes.world import Server, World
from tests.fixtures.postgres import postgres_server

Json = dict[str, Any]
_REST_SECONDS = 0.02
_PROGRESS_SECONDS = 20.0
CONVERGE_SECONDS = 60.0
VICTIMS = {"runner": 60, "control": 20, "platform": 20}


@dataclass(frozen=True)
class Options:
    """What a campaign is: `points` are reached one after the other, or `kills` fall at random, or nothing dies."""

    seed: int
    kills: int = 0
    points: Mapping[str, list[str]] = field(default_factory=dict[str, list[str]])
    sessions: int = 1
    """At least so many."""
    at_once: int = 8
    disturbances: tuple[str, ...] = ()
    worker: bool = False
    """A second process that runs turns."""
    disk_bytes: int = 0
    pause: tuple[float, float] = (0.05, 0.9)
    """Seconds between two random kills."""
    limit_seconds: float = 600.0
    settings: Mapping[str, str] = field(default_factory=dict[str, str])
    postgres: bool = False
    """Whether the control database is on a PostgreSQL server of the campaign's own."""


@dataclass
class Evidence:
    """All that the checker looks at. Times are seconds since the epoch."""

    options: Options
    folder: Path
    log: Log
    births: list[Json]
    last_kill: float
    killed: list[tuple[float, str]]
    """When a process was killed, and which: by the campaign or at a crash point."""
    left: list[str]
    """Points that were never reached."""
    interrupted: int
    """How often the client had to tell a failed session to go on."""
    seconds: float
    tables: dict[str, list[Json]]
    """Rows of the control database."""
    chain: str
    """What is wrong with its audit."""
    crowding: float = 1.0
    """Processes that wanted a core, for each core, towards the end; at least 1."""
    disturbed: int = 0
    """How often something else than a kill went wrong."""


class Campaign:
    """One run of a world."""

    def __init__(self, options: Options, world: World) -> None:
        self.options, self.world = options, world
        self.rng = Random(f"kills {options.seed}")
        self.killed: list[tuple[float, str]] = []
        self.left: list[str] = []
        self.disturbed = 0
        self.calm = 0.0
        """When the last kill, or whatever else went wrong, was over."""
        self.dying = True
        """Whether kills are still to come."""
        self.log = Log()

    async def run(self) -> Person:
        """All sessions to their end."""
        headers = {"authorization": f"Bearer {self.world.key}"}
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=40)
        async with aiohttp.ClientSession(self.world.control.url, headers=headers, timeout=timeout) as http:
            person = Person(http, self.options.seed)
            self.log = person.log
            keeper, killer = asyncio.create_task(self._keep_alive()), asyncio.create_task(self._kill())
            try:
                await asyncio.wait_for(self._keep_busy(person, keeper, killer), self.options.limit_seconds)
                await self._settle()
            except TimeoutError:
                person.log.problems.append(f"not at rest after {self.options.limit_seconds:g} s: {person.at_work}")
            finally:
                for task in (keeper, killer):
                    task.cancel()
                await asyncio.gather(keeper, killer, return_exceptions=True)
        return person

    async def _keep_busy(self, person: Person, *others: "asyncio.Task[None]") -> None:
        number, running = 0, set[asyncio.Task[None]]()
        while self.dying or number < self.options.sessions or running:
            while len(running) < self.options.at_once and (self.dying or number < self.options.sessions):
                running.add(asyncio.create_task(person.run_session(number)))
                number += 1
            done, running = await asyncio.wait(running, timeout=0.5, return_when=asyncio.FIRST_COMPLETED)
            for task in (*done, *(other for other in others if other.done())):
                task.result()

    async def _settle(self) -> None:
        """The reaper looks every two seconds, and a create whose answer was lost is looked for after ten."""
        await asyncio.sleep(5)

    async def _keep_alive(self) -> None:
        """Bear again what has died."""
        while True:
            for server in self.servers:
                if self.world.ended(server):
                    self.world.bear(server)
            await asyncio.sleep(_REST_SECONDS)

    @property
    def servers(self) -> list[Server]:
        """All that are kept alive."""
        return [self.world.platform, self.world.control, *([self.world.worker] if self.options.worker else [])]

    async def _kill(self) -> None:
        others = [DISTURBANCES[name](self.world, self.rng) for name in self.options.disturbances]
        self.disturbed = sum(await asyncio.gather(*others))
        if self.options.points:
            await self._await_points()
        for _ in range(self.options.kills):
            seen = self.log.count_seen()
            await asyncio.sleep(self.rng.uniform(*self.options.pause))
            await self._await_progress(seen)
            role = self.rng.choices(list(VICTIMS), list(VICTIMS.values()))[0]
            while not self._kill_one(role):
                await asyncio.sleep(_REST_SECONDS)
        self.dying, self.calm = False, time.time()

    async def _await_progress(self, seen: int) -> None:
        """On a crowded machine nothing would ever get anywhere between two kills."""
        deadline = time.monotonic() + _PROGRESS_SECONDS
        while self.log.count_seen() == seen and time.monotonic() < deadline:
            await asyncio.sleep(_REST_SECONDS)

    def _kill_one(self, role: str) -> bool:
        if role == "runner":
            done = bool(self.world.kill_child(role, self.rng.randrange(1 << 16)))
        else:
            server = self._server(role)
            done = server.connection is not None
            if done:
                self.world.kill(server)
        if done:
            self.killed.append((time.time(), role))
        return done

    async def _await_points(self) -> None:
        """Until each point was reached. All are armed at once, so that each life of a process ends at another one."""
        self.world.arm(self.options.points)
        for role in ("control", "platform"):
            self.world.kill(self._server(role))  # so that it is born armed
        deadline = time.monotonic() + self.options.limit_seconds * 0.7
        while time.monotonic() < deadline:
            self.left = [point for points in self.world.armed().values() for point in points]
            if not self.left:
                break
            await asyncio.sleep(0.1)
        self.world.arm({})

    def _server(self, role: str) -> Server:
        return self.world.control if role == "control" else self.world.platform


def run(options: Options, folder: Path) -> Evidence:
    """Run a campaign to its end, and stop its world."""
    with ExitStack() as stack:
        settings, server = dict(options.settings), None
        if options.postgres:
            server = stack.enter_context(postgres_server())
            settings["DATABASE_URL"] = server.url()
        world = stack.enter_context(World(folder, settings, disk_bytes=options.disk_bytes, database=server))
        for one in (world.platform, world.control):
            world.start(one)
        _upload(world)
        campaign, started = Campaign(options, world), time.monotonic()
        if options.worker:
            world.bear(world.worker)
        person = asyncio.run(campaign.run())
        seconds, births = time.monotonic() - started, world.births
        for one in campaign.servers:
            world.kill(one)
        world.keep()
        tables, chain = read_tables(settings.get("DATABASE_URL") or f"sqlite:///{world.home / 'control.db'}")
    return Evidence(
        options,
        folder,
        person.log,
        births,
        campaign.calm,
        sorted([*campaign.killed, *_at_points(births)]),
        left=campaign.left,
        interrupted=person.interrupted.total(),
        seconds=seconds,
        tables=tables,
        chain=chain,
        crowding=max(1.0, *(load / (os.cpu_count() or 1) for load in os.getloadavg()[:2])),
        disturbed=campaign.disturbed,
    )


def _at_points(births: list[Json]) -> list[tuple[float, str]]:
    return [(born["time"], born["point"]) for born in births if born["what"] == "end" and born["cause"] == "point"]


def _upload(world: World) -> None:
    headers = {"authorization": f"Bearer {world.key}"}
    with httpx.Client(base_url=world.control.url, headers=headers, timeout=60) as http:
        path = "/v1/accounts/local/datasets"
        http.post(path, json={"datasetId": DATASET, "dataset": {"userUploaded": {}}}).raise_for_status()
        files = {"file": ("tickets.jsonl", make_rows(), "application/jsonl")}
        http.post(f"{path}/{DATASET}:upload", files=files).raise_for_status()
