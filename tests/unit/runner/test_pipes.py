"""Pipes in an event loop: everything arrives, a slow reader holds the writer up, and nothing is closed twice."""

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvloop

from runner.sandbox.pipes import Pipe

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(params=list(LOOPS))
def run(request: pytest.FixtureRequest) -> Callable[[Callable[[], Awaitable[Any]]], Any]:
    """Runs a function on one of the event loops that servers use."""

    def run_on(function: Callable[[], Awaitable[Any]]) -> Any:
        with asyncio.Runner(loop_factory=LOOPS[request.param]) as runner:
            return runner.run(_await(function))

    return run_on


async def _await(function: Callable[[], Awaitable[Any]]) -> Any:
    return await function()


def test_everything_arrives_and_a_slow_reader_holds_the_writer_up(run: Any) -> None:
    sent = os.urandom(3 << 20)

    async def use() -> bytes:
        source, sink = os.pipe()
        pipe = Pipe(source)
        writing = asyncio.create_task(asyncio.to_thread(_write, sink, sent))
        await asyncio.sleep(0.3)
        assert not writing.done()
        data = await pipe.reader.read()
        await writing
        assert pipe.is_closing()
        return data

    assert run(use) == sent


def test_closing_it_ends_the_reader(run: Any) -> None:
    async def use() -> bytes:
        source, sink = os.pipe()
        pipe = Pipe(source)
        os.write(sink, b"begun")
        await asyncio.sleep(0.05)
        pipe.close()
        pipe.close()
        os.close(sink)
        return await pipe.reader.read()

    assert run(use) == b"begun"


def test_it_closes_nothing_that_another_thread_has_opened(run: Any) -> None:
    """`connect_read_pipe` of uvloop does, within seconds; a database lost its file to it."""
    stop, lost = threading.Event(), list[OSError]()

    def open_and_close() -> None:
        while not stop.is_set():
            descriptor = os.open(os.devnull, os.O_RDONLY)
            sum(range(500))
            try:
                os.close(descriptor)
            except OSError as error:
                lost.append(error)

    async def use() -> None:
        for _ in range(1500):
            source, sink = os.pipe()
            pipe = Pipe(source)
            os.write(sink, b"x")
            os.close(sink)
            assert await pipe.reader.read() == b"x"

    threads = [threading.Thread(target=open_and_close) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        run(use)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert lost == []


def _write(sink: int, data: bytes) -> None:
    with open(sink, "wb", buffering=0) as file:
        for start in range(0, len(data), 1 << 16):
            file.write(data[start : start + (1 << 16)])
