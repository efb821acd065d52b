"""HTTP/1.1 by hand over the session's Unix socket: an honest client library refuses to write what is wanted here."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

_TIMEOUT = 30.0


class Gone(Exception):
    """Nobody listens on the socket (any more)."""


class Request(NamedTuple):
    """What is sent, byte for byte: nothing is escaped or completed but Host and Content-Length."""

    verb: str
    target: str
    body: bytes | None = None
    headers: tuple[tuple[str, str], ...] = ()

    def encode(self) -> bytes:
        """The request on the wire."""
        lines = [f"{self.verb} {self.target} HTTP/1.1", "Host: gateway", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        framed = any(name.lower() in ("content-length", "transfer-encoding") for name, _ in self.headers)
        if self.body is not None and not framed:
            lines.append(f"Content-Length: {len(self.body)}")
        return "\r\n".join(lines).encode("utf-8", "surrogatepass") + b"\r\n\r\n" + (self.body or b"")


class Reply(NamedTuple):
    """The answer; code 0 when there was none."""

    code: int
    body: bytes

    def json(self) -> dict[str, Any]:
        """The body as an object, empty when it is none."""
        try:
            value = json.loads(self.body)
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}


class Wire:
    """One connection per request. Raises Gone when there is no socket."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def send(self, request: Request) -> Reply:
        """Send and read the answer."""
        return self.send_raw(request.encode())

    def send_raw(self, raw: bytes, patience: float = _TIMEOUT) -> Reply:
        """Send any bytes and read one answer, for which `patience` seconds are waited."""
        connection = self.open()
        connection.settimeout(patience)
        try:
            connection.sendall(raw)
            return _read(connection)
        except (OSError, ValueError):
            return Reply(0, b"")
        finally:
            connection.close()

    def open(self) -> socket.socket:
        """A connection, as it is."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(str(self.path))
        except OSError as error:
            connection.close()
            raise Gone(str(error)) from error
        return connection


def send_json(verb: str, target: str, value: Any, *headers: tuple[str, str]) -> Request:
    """A request with a JSON body."""
    return Request(verb, target, json.dumps(value).encode(), (("Content-Type", "application/json"), *headers))


def _read(connection: socket.socket) -> Reply:
    """The status and the body of one answer; every request asks for `Connection: close`, so it ends with the stream."""
    with connection.makefile("rb") as stream:
        status = stream.readline(1000).split()
        chunked = False
        while (line := stream.readline(10_000)) not in (b"\r\n", b"\n", b""):
            chunked |= line.lower().startswith(b"transfer-encoding: chunked")
        body = b"".join(_chunks(stream)) if chunked else stream.read()
        return Reply(int(status[1]) if len(status) > 1 else 0, body)


def _chunks(stream: Any) -> Iterator[bytes]:
    while size := int(stream.readline(100).split(b";")[0], 16):
        yield stream.read(size)
        stream.readline(10)
