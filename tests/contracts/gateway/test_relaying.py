"""Bodies through the gateway as they arrive: uploads, streams, and callers that go away."""

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
from starlette.requests import ClientDisconnect

from gateway import PlatformClient
from gateway.upstream import relay
from pilotlight.errors import Unavailable
from tests.fixtures.raw_platform import RawPlatform, against, always, answer

MODEL = "/v1/accounts/acme/models/m"


@pytest.mark.parametrize("length", [True, False])
def test_an_upload_is_streamed_and_a_broken_one_never_looks_whole(bench: Any, length: bool) -> None:
    block, count = b"x" * (1 << 18), 16
    headers = {"content-type": "multipart/form-data; boundary=b"}
    headers |= {"content-length": str(len(block) * count)} if length else {}

    async def work(platform: RawPlatform, client: PlatformClient) -> None:
        async def body(last: int) -> AsyncIterator[bytes]:
            for number in range(count):
                if number == last:
                    raise ClientDisconnect
                yield block
                while len(platform.connections[-1]) < len(block) * number:  # hangs where the upload is collected first
                    await asyncio.sleep(0)

        with pytest.raises(Unavailable):
            await client.send("POST", MODEL, headers, body(count // 2))
        await platform.ended.wait()
        assert platform.requests == []
        assert not platform.connections[0].endswith(b"0\r\n\r\n")
        if length:
            await (await client.send("POST", MODEL, headers, body(count))).read()
            assert len(platform.requests[0].partition(b"\r\n\r\n")[2]) == len(block) * count

    against(always(answer()), work)


def test_each_block_of_a_stream_is_passed_on_before_the_next_is_made(bench: Any, chat: Any, stage: Any) -> None:
    """Hangs, and fails, where anything between the platform and the caller waits for more."""
    got = threading.Event()

    async def words(scope: Any, receive: Any, send: Any) -> None:
        await _start_stream(receive, send)
        for word in (b"one", b"two", b"three"):
            await send({"type": "http.response.body", "body": b"data: " + word + b"\n\n", "more_body": True})
            assert await asyncio.to_thread(got.wait, 10)
            got.clear()
        await send({"type": "http.response.body", "body": b""})

    stage.platform = words
    found: list[bytes] = []
    with bench.me.stream("POST", "/v1/chat/completions", json=chat(stream=True)) as response:
        for block in response.iter_raw():
            found.append(block)
            got.set()
    assert found == [b"data: one\n\n", b"data: two\n\n", b"data: three\n\n"]


def test_a_caller_that_goes_away_ends_the_platforms_work_too(bench: Any, chat: Any, stage: Any) -> None:
    gone = threading.Event()

    async def endless(scope: Any, receive: Any, send: Any) -> None:
        await _start_stream(receive, send)
        await send({"type": "http.response.body", "body": b"data: one\n\n", "more_body": True})
        if (await receive())["type"] == "http.disconnect":
            gone.set()

    stage.platform = endless
    with bench.me.stream("POST", "/v1/chat/completions", json=chat(stream=True)) as response:
        assert next(response.iter_raw()) == b"data: one\n\n"
    assert gone.wait(5)


def test_a_caller_that_is_gone_before_the_first_byte_ends_it_as_well(bench: Any) -> None:
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"

    async def script(_: RawPlatform, writer: asyncio.StreamWriter) -> None:
        writer.write(head)

    async def work(platform: RawPlatform, client: PlatformClient) -> None:
        async def refuse(_: Any) -> None:
            raise OSError("the caller is gone")

        response = await relay(await client.send("GET", MODEL, {}))
        with pytest.raises(Exception, match="gone"):
            await response({"type": "http"}, asyncio.Event().wait, refuse)  # type: ignore[arg-type]
        await asyncio.wait_for(platform.ended.wait(), 5)

    against(script, work)


async def _start_stream(receive: Any, send: Any) -> None:
    while (await receive()).get("more_body"):
        pass
    headers = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
