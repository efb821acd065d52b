"""The feed against a server that repeats, skips, and ends early: each line once, in order, or an error."""

import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import click
import pytest

from cli.connection import Connection
from cli.feed import Feed

DONE = b'event: done\r\ndata: {"status": "waiting"}\r\n\r\n'


def event(seq: int) -> bytes:
    return b'id: %d\r\nevent: job\r\ndata: {"seq": "%d", "payload": {}}\r\n\r\n' % (seq, seq)


@contextmanager
def serving(*bodies: bytes) -> Generator[tuple[Feed, list[str]]]:
    """A server that answers with these streams in turn, the last one again and again; and what was asked."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path.partition("afterSeq=")[2])
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.end_headers()
            self.wfile.write(bodies[min(len(asked), len(bodies)) - 1])

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    connection = Connection(account="a", key="k")
    connection.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield Feed(connection, "s"), asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def seqs(feed: Feed) -> list[str]:
    return [found["seq"] for found in feed.follow()]


def test_what_came_before_is_not_repeated() -> None:
    with serving(event(1) + event(2), event(1) + event(2) + event(3) + DONE) as (feed, asked):
        assert seqs(feed) == ["1", "2", "3"]
    assert asked == ["0", "2"]
    assert feed.status == "waiting"


def test_a_line_that_is_left_out_is_asked_for_again() -> None:
    with serving(event(1) + event(3), event(2) + event(3) + DONE) as (feed, asked):
        assert seqs(feed) == ["1", "2", "3"]
    assert asked == ["0", "1"]


def test_half_an_event_and_text_in_the_making_are_no_lines() -> None:
    delta = b'event: delta\r\ndata: {"channel": "a", "text": "b"}\r\n\r\n'
    with serving(event(1) + delta + event(2)[:-9], event(2) + DONE) as (feed, asked):
        assert seqs(feed) == ["1", "2"]
    assert asked == ["0", "1"]


def test_a_server_that_has_lost_events_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(event(2) + DONE) as (feed, asked), pytest.raises(click.ClickException, match="came after event 0"):
        seqs(feed)
    assert len(asked) == 5
