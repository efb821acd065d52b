"""The client to the platform over real sockets, against a platform that misbehaves in raw bytes."""

import asyncio
import gzip
import json
import socket
import threading
import time
from contextlib import suppress
from decimal import Decimal
from typing import Any

import aiohttp
import pytest
from starlette.requests import Request

from gateway import Gateway, PlatformClient, Principal
from gateway.client import NotSent
from gateway.upstream import Upstream, visible_headers
from pilotlight.errors import Internal, Unavailable
from tests.fixtures.fence import every_turn
from tests.fixtures.raw_platform import RawPlatform, against, always, answer

ME = Principal("session", "acme", session="1779157376-41e1", user="ann")
JOBS = "/v1/accounts/acme/supervisedFineTuningJobs"
MODEL = "/v1/accounts/acme/models/m"


async def create_job(gateway: Gateway, body: dict[str, Any], key: str = "job-1") -> dict[str, Any]:
    """A call that costs money, with its effect key."""
    raw = json.dumps(body).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(raw)).encode())]
    scope = {
        "type": "http", "method": "POST", "path": JOBS, "raw_path": JOBS.encode(),
        "query_string": b"supervisedFineTuningJobId=ft-1", "headers": [*headers, (b"idempotency-key", key.encode())],
    }  # fmt: skip

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": raw, "more_body": False}

    response = await gateway.forward(ME, Request(scope, receive))
    return {"code": response.status_code} | json.loads(bytes(response.body))


def test_only_listed_headers_come_back(bench: Any) -> None:
    secret = bench.settings.platform_key.get_secret_value()
    leaks = ["set-cookie: a=1", f"x-echo: {secret}", "server: n7", "www-authenticate: Bearer", "location: /x"]
    good = ["retry-after: 5", "x-should-retry: true", "content-disposition: attachment"]
    response = answer(b"{}", "200 OK", *leaks, *good)

    async def work(_: RawPlatform, client: PlatformClient) -> None:
        platform = Upstream(client, bench.settings)
        shown = visible_headers(await platform.get(MODEL))
        assert set(shown) == {
            "content-type", "content-length", "retry-after", "x-should-retry", "content-disposition"
        }  # fmt: skip
        assert secret not in str(shown)

    seen = against(always(response), work)
    assert seen.requests[0].count(f"Bearer {secret}".encode()) == 1


@pytest.mark.parametrize("evil", ["5\x01", "5\x00", "5\x7f", "5\rset-cookie: a=1", "5\n\x0bx"])
def test_a_control_character_in_a_header_is_never_passed_on(bench: Any, evil: str) -> None:
    async def work(_: RawPlatform, client: PlatformClient) -> None:
        try:
            shown = visible_headers(await Upstream(client, bench.settings).get(MODEL))
        except Unavailable:
            return
        assert all(value.isprintable() for value in shown.values())
        assert "set-cookie" not in shown

    against(always(answer(b"{}", "200 OK", f"retry-after: {evil}")), work)


def test_cookies_are_not_kept_and_nothing_is_decoded(bench: Any) -> None:
    packed = gzip.compress(b"words")
    response = answer(packed, "200 OK", "content-encoding: gzip", "set-cookie: a=1; Path=/")

    async def work(_: RawPlatform, client: PlatformClient) -> None:
        for _round in range(2):
            found = await Upstream(client, bench.settings).get(MODEL)
            assert (found.content, visible_headers(found)["content-encoding"]) == (packed, "gzip")

    seen = against(always(response), work)
    assert all(b"accept-encoding: identity" in request.lower() for request in seen.requests)
    assert all(b"cookie" not in request.lower() for request in seen.requests)


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
def test_redirects_are_not_followed(bench: Any, status: str) -> None:
    async def work(platform: RawPlatform, client: PlatformClient) -> None:
        for verb in ("GET", "POST", "DELETE"):
            found = await client.send(verb, MODEL, {"authorization": "Bearer x"})
            await found.read()
            assert found.status_code == int(status[:3])
            assert "location" not in visible_headers(found)
        assert len(platform.requests) == 3

    against(always(answer(b"", status, "location: /v1/accounts/other/models/z")), work)


def test_the_environments_proxy_is_not_used(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    async def work(platform: RawPlatform, client: PlatformClient) -> None:
        assert (await Upstream(client, bench.settings).get(MODEL)).status_code == 200
        assert platform.requests[0].startswith(b"GET " + MODEL.encode())

    against(always(answer()), work)


def test_a_connection_closed_between_calls_fails_nothing(bench: Any) -> None:
    async def script(_: RawPlatform, writer: asyncio.StreamWriter) -> None:
        writer.write(answer())
        await writer.drain()
        writer.close()

    async def work(platform: RawPlatform, client: PlatformClient) -> None:
        for verb in ("GET", "POST", "DELETE") * 3:
            assert (await client.send(verb, MODEL, {}, b"{}")).status_code == 200
            await asyncio.sleep(0.02)
        assert (len(platform.requests), len(platform.connections)) == (9, 9)

    against(script, work)


@pytest.mark.parametrize("late", [b"", answer(b'{"name":"forged"}')])
def test_what_the_loop_has_not_read_yet_is_seen_before_a_kept_connection_is_used(bench: Any, late: bytes) -> None:
    """The end of a connection, or a forged answer, waits in the kernel while the loop is busy elsewhere."""
    served: list[socket.socket] = []

    def serve(listener: socket.socket) -> None:
        for _ in range(2):
            served.append(listener.accept()[0])
            served[-1].recv(65536)
            served[-1].sendall(answer(b'{"name":"mine"}'))

    async def call(url: str) -> None:
        async with PlatformClient(url) as client:
            for verb in ("GET", "POST"):
                found = await client.send(verb, MODEL, {}, b"{}")
                assert await found.read() == b'{"name":"mine"}'
                served[-1].sendall(late) if late else served[-1].shutdown(socket.SHUT_WR)
                time.sleep(0.02)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        asyncio.run(asyncio.wait_for(call(f"http://127.0.0.1:{listener.getsockname()[1]}"), 10))
        thread.join(10)
    for connection in served:
        connection.close()
    assert len(served) == 2


def test_a_kept_connection_that_breaks_under_a_call_repeats_reads_and_nothing_else(bench: Any) -> None:
    async def read(platform: RawPlatform, client: PlatformClient) -> None:
        for _ in range(2):
            await (await client.send("GET", MODEL, {})).read()
        assert len(platform.requests) == 3

    against(always(answer(), b"", answer()), read)

    async def act(platform: RawPlatform, client: PlatformClient) -> None:
        await (await client.send("GET", MODEL, {})).read()
        for number, verb in enumerate(("DELETE", "POST", "PATCH", "PUT"), 2):
            with pytest.raises(Unavailable) as caught:
                await client.send(verb, MODEL, {}, b"{}")
            assert not isinstance(caught.value, NotSent)
            assert len(platform.requests) == number

    against(always(answer(), b""), act)


GARBAGE = {
    "nothing": b"",
    "noise": b"\x16\x03\x01 not http\r\n\r\n",
    "half a status": b"HTTP/1.1 2",
    "half a head": b"HTTP/1.1 200 OK\r\ncontent-ty",
    "a status of no kind": b"HTTP/1.1 abc OK\r\n\r\n",
    "a switch of protocols": b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
    "half a body": answer(b'{"name', length=100).replace(b"content-length", b"Content-Length"),
    "a broken chunk": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    "chunks without an end": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "a negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n{}",
    "an endless head": b"HTTP/1.1 200 OK\r\nx: " + b"a" * 300_000,
}


@pytest.mark.parametrize("name", GARBAGE)
def test_a_broken_answer_is_an_unknown_outcome_and_keeps_its_reservation(
    bench: Any, job_grant: Any, job_body: Any, name: str
) -> None:
    bench.approve(job_grant())

    async def work(platform: RawPlatform, client: PlatformClient) -> None:
        gateway = Gateway(bench.engine, bench.settings, client, is_running=every_turn)
        found = await create_job(gateway, job_body())
        assert (found["code"], found["error"]["status"]) == (503, "UNAVAILABLE")
        assert "cannot be reached" not in found["error"]["message"]
        assert len(platform.requests) == 1
        gateway.close()

    against(always(GARBAGE[name]), work)
    assert (bench.cost().reserved, bench.cost().lines[0].calls) == (Decimal("0.10"), 1)


def test_a_silent_platform_is_an_unknown_outcome(bench: Any, job_grant: Any, job_body: Any) -> None:
    bench.approve(job_grant())

    async def script(_: RawPlatform, __: asyncio.StreamWriter) -> None:
        return None

    async def work(platform: RawPlatform, client: PlatformClient) -> None:
        gateway = Gateway(bench.engine, bench.settings, client, is_running=every_turn)
        assert (await create_job(gateway, job_body()))["code"] == 503
        await asyncio.wait_for(platform.ended.wait(), 5)
        gateway.close()

    against(script, work, timeout=aiohttp.ClientTimeout(total=None, sock_read=0.2))
    assert bench.cost().reserved == Decimal("0.10")


def test_a_platform_that_is_not_there_gives_everything_back(bench: Any, job_grant: Any, job_body: Any) -> None:
    bench.approve(job_grant())

    async def run() -> None:
        async with PlatformClient("http://127.0.0.1:9") as nowhere:
            gateway = Gateway(bench.engine, bench.settings, nowhere, is_running=every_turn)
            found = await create_job(gateway, job_body())
            assert (found["code"], "cannot be reached" in found["error"]["message"]) == (503, True)
            gateway.close()

    asyncio.run(run())
    assert (bench.cost().reserved, bench.cost().lines[0].calls) == (Decimal(0), 0)

    async def again(platform: RawPlatform, client: PlatformClient) -> None:
        gateway = Gateway(bench.engine, bench.settings, client, is_running=every_turn)
        assert (await create_job(gateway, job_body()))["code"] == 200
        assert len(platform.requests) == 1
        gateway.close()

    against(always(answer(b'{"name":"accounts/acme/supervisedFineTuningJobs/ft-1"}')), again)
    assert (bench.cost().reserved, bench.cost().lines[0].calls) == (Decimal("0.10"), 1)


def test_waiting_in_vain_for_a_connection_means_not_sent(bench: Any, job_grant: Any, job_body: Any) -> None:
    bench.approve(job_grant())
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n"

    async def script(_: RawPlatform, writer: asyncio.StreamWriter) -> None:
        writer.write(head)

    async def work(platform: RawPlatform, client: PlatformClient) -> None:
        gateway = Gateway(bench.engine, bench.settings, client, is_running=every_turn)
        endless = await client.send("GET", MODEL, {})
        found = await create_job(gateway, job_body())
        assert (found["code"], "cannot be reached" in found["error"]["message"]) == (503, True)
        assert len(platform.requests) == 1
        endless.close()
        gateway.close()

    against(script, work, connections=1, timeout=aiohttp.ClientTimeout(total=None, connect=0.2))
    assert (bench.cost().reserved, bench.cost().lines[0].calls) == (Decimal(0), 0)


def test_an_answer_nobody_asked_for_is_nobodys(bench: Any) -> None:
    """A second answer on the connection, at once or later, must not become the answer to the next call."""
    forged = answer(b'{"name":"forged"}')

    async def script(platform: RawPlatform, writer: asyncio.StreamWriter) -> None:
        at_once = len(platform.requests) == 1
        writer.write(answer(b'{"name":"mine"}') + (forged if at_once else b""))
        await asyncio.sleep(0.02)
        with suppress(ConnectionError):
            writer.write(forged)
            await writer.drain()

    async def work(_: RawPlatform, client: PlatformClient) -> None:
        for _round in range(4):
            assert await (await client.send("GET", MODEL, {})).read() == b'{"name":"mine"}'
            await asyncio.sleep(0.1)

    against(script, work)


def test_early_hints_are_not_the_answer(bench: Any) -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n"

    async def work(_: RawPlatform, client: PlatformClient) -> None:
        found = await client.send("POST", MODEL, {}, b"{}")
        assert (found.status_code, await found.read()) == (200, b"{}")

    against(always(b"HTTP/1.1 100 Continue\r\n\r\n" + hints + answer()), work)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://x/y", "http://h/a b", "http://h/\r\nx: y", "/a\x00", ""])
def test_a_signed_url_that_is_none_is_refused(bench: Any, url: str) -> None:
    async def run() -> None:
        async with PlatformClient("http://127.0.0.1:9") as client:
            with pytest.raises(Internal, match="not HTTP"):
                async for _ in Upstream(client, bench.settings).fetch_signed(url):
                    pass

    asyncio.run(run())


def test_a_signed_url_gets_no_key(bench: Any) -> None:
    async def work(platform: RawPlatform, client: PlatformClient) -> None:
        blocks = [b async for b in Upstream(client, bench.settings).fetch_signed(f"{platform.url}/f?sig=a%2Fb")]
        assert b"".join(blocks) == b"{}"
        assert platform.requests[0].startswith(b"GET /f?sig=a%2Fb HTTP/1.1\r\n")
        assert b"authorization" not in platform.requests[0].lower()

    against(always(answer()), work)
