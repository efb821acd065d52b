"""Slow, silent, endless and numerous peers: each loses its own connection, and nobody else does."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from agent.protocol import MAX_HEAD, guard
from agent.sockets import SOCKET_NAME, serve_socket
from pilotlight.settings import Settings
from tests.fixtures.asgi import serving

HEAD, STALL, ROOM = 0.5, 0.5, 12
LIMITS: dict[str, Any] = {"head_seconds": HEAD, "stall_seconds": STALL, "turn_connections": ROOM}
Connect = Callable[[], socket.socket]


class Recorder:
    """Answers `/stream` slowly, `/big` at once and at length, and all else with what it received."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, dict[str, str], int]] = []
        self.ended = threading.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            for word in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{word}.complete"})
            return
        size, more = 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.ended.set()
                return
            size, more = size + len(message["body"]), message["more_body"]
        headers = {name.decode(): value.decode("latin-1") for name, value in scope["headers"]}
        self.seen.append((scope["path"], headers, size))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        if scope["path"] == "/stream":
            for number in range(8):
                await send({"type": "http.response.body", "body": b"data: %d\n\n" % number, "more_body": True})
                await asyncio.sleep(HEAD / 3)
        if scope["path"] == "/big":
            for _ in range(400):
                await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
        self.ended.set()
        await send({"type": "http.response.body", "body": str(size).encode()})


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@contextmanager
def guarded(recorder: Recorder, settings: Settings) -> Generator[Connect]:
    """A guarded server on TCP; opens connections to it."""
    opened: list[socket.socket] = []
    with serving(recorder, http=guard(settings, ROOM)) as url:
        address = urlsplit(url)

        def connect() -> socket.socket:
            opened.append(socket.create_connection((address.hostname, address.port), timeout=10))
            return opened[-1]

        yield connect
        for one in opened:
            one.close()


@pytest.fixture
def connect(recorder: Recorder, tmp_path: Path) -> Generator[Connect]:
    """To an impatient server."""
    with guarded(recorder, Settings(home=tmp_path, **LIMITS)) as connect:
        yield connect


@pytest.fixture
def connect_patient(recorder: Recorder, tmp_path: Path) -> Generator[Connect]:
    """To a server whose clocks end no test: what it refuses in time, it refuses for another reason."""
    with guarded(recorder, Settings(home=tmp_path, head_seconds=60, stall_seconds=60)) as connect:
        yield connect


def read_all(peer: socket.socket) -> bytes:
    received = b""
    try:
        while block := peer.recv(65536):
            received += block
    except ConnectionResetError:
        pass
    return received


def is_closed(peer: socket.socket) -> bool:
    """Whether the server has closed already."""
    peer.setblocking(False)
    try:
        return peer.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer else 0


def ask(peer: socket.socket, path: str = "/", close: bool = True) -> bytes:
    last = "Connection: close\r\n" if close else ""
    peer.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n{last}\r\n".encode())
    return read_all(peer) if close else peer.recv(65536)


def drip(peer: socket.socket, text: bytes, pause: float, pieces: int) -> float:
    """Send `text` over and over, slowly, until the server has enough; the seconds that took."""
    start = time.monotonic()
    try:
        for _ in range(pieces):
            peer.sendall(text)
            time.sleep(pause)
    except (BrokenPipeError, ConnectionResetError):
        pass
    return time.monotonic() - start


def test_a_silent_connection_is_dropped(connect: Connect) -> None:
    start, peer = time.monotonic(), connect()
    assert read_all(peer) == b""
    assert HEAD * 0.8 < time.monotonic() - start < HEAD * 4


@pytest.mark.parametrize("start", [b"GET / HTTP/1.1\r\nX-A: ", b"GET /", b"\r\n"], ids=["header", "line", "newlines"])
def test_a_dripping_head_is_dropped_in_time(connect: Connect, recorder: Recorder, start: bytes) -> None:
    peer = connect()
    peer.sendall(start)
    assert drip(peer, b"\r\n" if start == b"\r\n" else b"a", HEAD / 10, 60) < HEAD * 4
    assert recorder.seen == []


def test_the_answer_to_a_slow_head_says_so(connect: Connect) -> None:
    peer = connect()
    peer.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
    answer = read_all(peer)
    assert status(answer) == 408
    error = json.loads(answer.partition(b"\r\n\r\n")[2])["error"]
    assert (error["code"], error["status"], error["details"][0]["reason"]) == (408, "UNAVAILABLE", "http")
    assert "0.5 seconds" in error["message"]


def test_a_slow_head_after_a_good_request_is_dropped_too(connect: Connect) -> None:
    peer = connect()
    assert status(ask(peer, close=False)) == 200
    peer.sendall(b"GET / HTTP/1.1\r\n")
    assert drip(peer, b"X: y\r\n", HEAD / 10, 60) < HEAD * 4


@pytest.mark.parametrize("pieces", [0, 60], ids=["stopped", "dripping"])
@pytest.mark.parametrize("framing", [b"Content-Length: 5000", b"Transfer-Encoding: chunked"], ids=["length", "chunked"])
def test_a_stalled_body_is_dropped(connect: Connect, recorder: Recorder, framing: bytes, pieces: int) -> None:
    start, peer = time.monotonic(), connect()
    peer.sendall(b"POST / HTTP/1.1\r\nHost: x\r\n" + framing + b"\r\n\r\n")
    if framing.startswith(b"T"):
        peer.sendall(b"1000\r\nabc")
    drip(peer, b"a", STALL / 10, pieces)
    answer = read_all(peer)
    assert time.monotonic() - start < STALL * 4
    assert recorder.ended.wait(5), "the application was not told"
    assert recorder.seen == []
    assert pieces or status(answer) == 408


def test_a_slow_but_steady_body_arrives(connect: Connect, recorder: Recorder) -> None:
    peer = connect()
    peer.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 40960\r\n\r\n")
    assert drip(peer, b"a" * 2048, STALL / 8, 20) > 2 * STALL
    assert read_all(peer).endswith(b"40960\r\n0\r\n\r\n")
    assert recorder.seen[0][2] == 40960


def test_a_long_stream_is_not_cut(connect: Connect) -> None:
    start = time.monotonic()
    answer = ask(connect(), "/stream")
    assert answer.count(b"data: ") == 8
    assert answer.endswith(b"0\r\n\r\n")
    assert time.monotonic() - start > 2 * HEAD


def test_an_answer_that_nobody_takes_is_given_up(connect: Connect, recorder: Recorder) -> None:
    peer = connect()
    peer.sendall(b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n")
    assert recorder.ended.wait(STALL * 5 * 4), "the application still writes"
    assert len(read_all(peer)) < 400 * 65536


FLOODS = {
    "line": (b"GET /" + b"a" * 100_000, b" HTTP/1.1\r\n\r\n"),
    "header": (b"GET / HTTP/1.1\r\nX: " + b"a" * 100_000, b"\r\n\r\n"),
    "headers": (b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * 20_000, b"\r\n"),
    "newlines": (b"\r\n" * 60_000, b""),
}


@pytest.mark.parametrize("flood", FLOODS)
@pytest.mark.parametrize("ended", [False, True])
def test_a_large_head_is_refused_early(connect_patient: Connect, recorder: Recorder, flood: str, ended: bool) -> None:
    peer = connect_patient()
    drip(peer, FLOODS[flood][0] + FLOODS[flood][1] * ended, 0, 1)
    assert status(read_all(peer)) in (431, 0)
    assert recorder.seen == []


def test_a_head_of_honest_size_is_served(connect: Connect, recorder: Recorder) -> None:
    peer = connect()
    peer.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-A: " + b"a" * (MAX_HEAD - 200) + b"\r\n\r\n")
    assert status(read_all(peer)) == 200
    assert len(recorder.seen) == 1


TRAILED = b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n"
NEXT = b"GET /b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize("trailer", [b"X-Role: admin\r\n", b"X-A: b\r\nX-Role: admin\r\n"])
def test_trailers_join_no_headers(connect: Connect, recorder: Recorder, trailer: bytes) -> None:
    peer = connect()
    peer.sendall(TRAILED + trailer + b"\r\n" + NEXT)
    assert status(read_all(peer)) == 400
    assert all("x-role" not in headers for _, headers, _ in recorder.seen)


def test_endless_trailers_and_chunk_extensions_are_refused(connect_patient: Connect, recorder: Recorder) -> None:
    for flood in (TRAILED + b"X: " + b"a" * 400_000, TRAILED[:-3] + b"2;" + b"a" * 400_000):
        peer = connect_patient()
        drip(peer, flood, 0, 1)
        assert status(read_all(peer)) in (0, 400, 431)
    assert recorder.seen == []


def test_a_fault_is_never_the_answer_to_an_earlier_request(connect: Connect) -> None:
    peer = connect()
    peer.sendall(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n" + b"BROKEN\r\n\r\n")
    answer = read_all(peer)
    assert b"HTTP/1.1 4" not in answer


def test_a_fragment_is_refused(connect: Connect, recorder: Recorder) -> None:
    peer = connect()
    peer.sendall(b"GET /a#/../b HTTP/1.1\r\nHost: x\r\n\r\n")
    assert status(read_all(peer)) == 400
    assert recorder.seen == []


def test_a_flood_of_idle_connections_keeps_nobody_out(connect: Connect) -> None:
    flood = [connect() for _ in range(ROOM * 3)]
    for peer in flood[::2]:
        drip(peer, b"GET / HT", 0, 1)
    assert status(ask(connect())) == 200
    assert sum(is_closed(peer) for peer in flood) >= 2 * ROOM, "the flood holds more than the server gives"


def test_a_full_server_closes_who_it_waits_for_and_not_who_waits(connect: Connect) -> None:
    stream = connect()
    stream.sendall(b"GET /stream HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert stream.recv(10) == b"HTTP/1.1 2"
    bodies = [connect() for _ in range(ROOM * 2)]
    for peer in bodies:
        drip(peer, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n", 0, 1)
    assert status(ask(connect())) == 200
    assert read_all(stream).count(b"data: ") == 8


def test_a_server_busy_with_requests_says_so(connect: Connect) -> None:
    streams = [connect() for _ in range(ROOM)]
    for peer in streams:
        peer.sendall(b"GET /stream HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert all(peer.recv(10) for peer in streams)
    assert status(read_all(connect())) == 503
    assert all(read_all(peer).count(b"data: ") == 8 for peer in streams)


@asynccontextmanager
async def two_turns(home: Path, recorder: Recorder) -> AsyncGenerator[tuple[Path, Path]]:
    settings = Settings(home=home, **LIMITS)
    async with serve_socket(settings, "a", recorder) as one, serve_socket(settings, "b", recorder) as other:
        yield one / SOCKET_NAME, other / SOCKET_NAME


async def starve(home: Path, recorder: Recorder) -> list[bytes]:
    """What a flood of one turn's socket gets, while both turns are served."""
    async with two_turns(home, recorder) as (noisy, quiet):
        flood = [await asyncio.open_unix_connection(str(noisy)) for _ in range(ROOM * 4)]
        await asyncio.sleep(0.05)
        for path in (quiet, noisy):
            async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=str(path))) as client:
                assert (await client.get("http://turn/")).status_code == 200
        dropped = [await asyncio.wait_for(reader.read(), HEAD * 5) for reader, _ in flood]
        for _, writer in flood:
            writer.close()
        return dropped


def test_one_runner_cannot_starve_another(tmp_path: Path, recorder: Recorder) -> None:
    assert set(asyncio.run(starve(tmp_path, recorder))) == {b""}
