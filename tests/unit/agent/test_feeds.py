"""What a feed keeps of a session's log is bounded, and what it no longer keeps comes from the log."""

import asyncio
import json
from collections.abc import AsyncIterator

from agent import journal
from agent.feeds import Feeds
from agent.store import writing
from agent.streams import stream_events
from tests.fixtures.desk import Desk


def append(desk: Desk, session: str, count: int, size: int) -> None:
    with writing(desk.engine) as db:
        for _ in range(count):
            journal.append(db, session, "status_info", {"text": "x" * size})


async def read_until(stream: AsyncIterator[bytes], last: int) -> list[int]:
    ids: list[int] = []
    async for body in stream:
        ids += [int(line[4:]) for line in body.decode().splitlines() if line.startswith("id: ")]
        if ids and ids[-1] >= last:
            return ids
    return ids


def test_a_watcher_that_falls_behind_what_is_kept_reads_the_log(desk: Desk) -> None:
    session = desk.create()

    async def check() -> None:
        feeds = Feeds(desk.engine)
        slow, fast = (stream_events(feeds, session, 0, None) for _ in range(2))
        assert await read_until(slow, 1) == await read_until(fast, 1) == [1]
        for size, count in ((10, 600), (40_000, 60)):
            await asyncio.to_thread(append, desk, session, count, size)
            end = desk.get(session)["lastSeq"]
            await read_until(fast, int(end))
            async with feeds.open(session) as feed:
                kept = feed.take(int(end) - 1, None)
                assert kept
                assert kept.position == int(end)
                assert feed.take(1, None) is None
        assert await read_until(slow, int(end)) == list(range(2, int(end) + 1))
        await slow.aclose()  # pyright: ignore[reportAttributeAccessIssue]
        await fast.aclose()  # pyright: ignore[reportAttributeAccessIssue]

    asyncio.run(check())


def test_deltas_are_dropped_for_whoever_is_slow(desk: Desk) -> None:
    session = desk.create()

    async def check() -> None:
        feeds = Feeds(desk.engine)
        async with feeds.open(session) as feed:
            for number in range(1000):
                feeds.show_delta(session, {"channel": "a", "text": str(number)})
            lines = feed.take_deltas(0).decode().splitlines()
            assert len(lines) < 300
            assert json.loads(lines[-2].removeprefix("data: "))["text"] == "999"
            assert feed.take_deltas(1000) == b""
        feeds.show_delta(session, {"channel": "a", "text": "nobody watches"})

    asyncio.run(check())
