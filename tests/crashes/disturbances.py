"""What else goes wrong while sessions run: stopped workers, a locked database, a full disk, a clock that jumps."""

import asyncio
import os
import signal
import sqlite3
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import closing
from pathlib import Path
from random import Random

from tests.crashes.world import World

Disturbance = Callable[[World, Random], Awaitable[int]]
"""Runs once, and returns how often it disturbed."""
LEASE_SECONDS = 3.0


async def stop_workers(world: World, rng: Random, times: int = 3) -> int:
    """Zombies: a worker is stopped past its lease, another one takes over, then the first one goes on."""
    stopped = 0
    while stopped < times:
        await asyncio.sleep(rng.uniform(0.5, 2.0))
        if world.count_children("runner", of=world.worker.pid) == 0:
            continue
        world.signal(world.worker, signal.SIGSTOP)
        await asyncio.sleep(LEASE_SECONDS * 2 + rng.uniform(0.0, 2.0))
        world.signal(world.worker, signal.SIGCONT)
        stopped += 1
    return stopped


async def lock_database(world: World, rng: Random, times: int = 3) -> int:
    """Another process holds the write lock of the control database for some seconds."""
    for _ in range(times):
        await asyncio.sleep(rng.uniform(1.0, 3.0))
        await asyncio.to_thread(_hold_lock, world.home / "control.db", rng.uniform(1.0, 6.0))
    return times


async def fill_disk(world: World, rng: Random, times: int = 2) -> int:
    """No byte is left on the file system of the home, until room is made again."""
    ballast = world.inside / "ballast"
    for _ in range(times):
        await asyncio.sleep(rng.uniform(1.5, 3.0))
        await asyncio.to_thread(_fill, ballast)
        await asyncio.sleep(rng.uniform(2.0, 4.0))
        ballast.unlink()
    return times


async def move_clock(world: World, rng: Random, times: int = 8) -> int:
    """The clock of all processes jumps, back and forth, by up to ten minutes."""
    part = world.folder / "offset.part"
    for number in range(times):
        await asyncio.sleep(rng.uniform(0.5, 2.0))
        part.write_text(str(0 if number == times - 1 else rng.uniform(-600, 20)))
        part.replace(world.clock)
    return times


async def kill_trainers(world: World, rng: Random, times: int = 4) -> int:
    """Trainers die, each of a job that was not hit before."""
    hit: set[str] = set()
    while len(hit) < times:
        await asyncio.sleep(0.05)
        for label in world.labels("trainer"):
            if label not in hit and rng.random() < 0.5 and world.kill_child("trainer", 0, label=label):
                hit.add(label)
                break
    return len(hit)


async def crash_database(world: World, rng: Random, times: int = 4) -> int:
    """The PostgreSQL server is stopped as by a crash, and started again after up to two seconds."""
    assert world.database
    for _ in range(times):
        await asyncio.sleep(rng.uniform(3.0, 8.0))
        await asyncio.to_thread(world.database.crash)
        await asyncio.sleep(rng.uniform(0.0, 2.0))
        await asyncio.to_thread(world.database.start)
    return times


def _hold_lock(path: Path, seconds: float) -> None:
    with closing(sqlite3.connect(path, timeout=120, isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        time.sleep(seconds)


def _fill(path: Path) -> None:
    block = bytes(1 << 16)
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(block)
        except OSError:  # no space left on device
            os.fsync(file.fileno())


DISTURBANCES: Mapping[str, Disturbance] = {
    "zombies": stop_workers,
    "locked": lock_database,
    "full": fill_disk,
    "clock": move_clock,
    "trainers": kill_trainers,
    "database": crash_database,
}
