"""Bytes from a request onto the disk, hashed on the way and never whole in memory; what breaks off leaves nothing."""

import errno
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

from fastapi import Request
from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect

from pilotlight.errors import InvalidArgument, PilotlightError, ResourceExhausted

MULTIPART_LIMIT = 150_000_000
"""Largest file `:upload` takes, in bytes [P39]."""
_OVERHEAD = 1 << 20
_DRAIN_LIMIT = 1 << 30


class Received(NamedTuple):
    """A file that has fully arrived."""

    path: Path
    filename: str
    size: int
    sha256: str


async def receive_body(request: Request, target: Path, limit: int, too_large: PilotlightError) -> Received:
    """Write the raw body to `target` by way of a `.part` file. Raises `too_large` beyond `limit` bytes."""
    sink = _Sink(target, limit, too_large)
    async with _Guard(sink):
        async for chunk in _chunks(request):
            sink.write(chunk)
    return sink.finish(target.name)


async def receive_multipart(request: Request, folder: Path, too_large: PilotlightError) -> Received:
    """Write the part named `file` of a multipart form into `folder` under a fresh name.

    Raises `too_large` beyond MULTIPART_LIMIT, InvalidArgument when there is no such part or the form is broken.
    """
    boundary = _boundary_of(request)
    if int(request.headers.get("content-length") or 0) > MULTIPART_LIMIT + _OVERHEAD:
        await _drain(request)
        raise too_large
    folder.mkdir(parents=True, exist_ok=True)
    sink = _Sink(folder / uuid4().hex, MULTIPART_LIMIT, too_large)
    form = _Form(sink, boundary)
    async with _Guard(sink):
        async for chunk in _chunks(request):
            form.feed(chunk)
        form.check_complete()
    return sink.finish(form.filename)


class _Sink:
    """A file in the making."""

    def __init__(self, target: Path, limit: int, too_large: PilotlightError) -> None:
        self.target, self.limit, self.too_large = target, limit, too_large
        self.part = target.with_name(f"{target.name}.{uuid4().hex[:8]}.part")
        self.size, self.hash = 0, hashlib.sha256()
        self.file = self.part.open("xb")

    def write(self, chunk: bytes | memoryview) -> None:
        self.size += len(chunk)
        if self.size > self.limit:
            raise self.too_large
        self.hash.update(chunk)
        self.file.write(chunk)

    def discard(self) -> None:
        self.file.close()
        self.part.unlink(missing_ok=True)

    def finish(self, filename: str) -> Received:
        self.part.replace(self.target)
        return Received(self.target, filename, self.size, self.hash.hexdigest())


class _Guard:
    """Closes the sink; on any failure also removes what it wrote, and says what happened in our terms."""

    def __init__(self, sink: _Sink) -> None:
        self.sink = sink

    async def __aenter__(self) -> None:
        return None

    async def __aexit__(self, kind: object, error: BaseException | None, _trace: object) -> None:
        if error is None:
            self.sink.file.close()
            return
        self.sink.discard()
        if isinstance(error, ClientDisconnect):
            raise InvalidArgument("The upload broke off.", hint="Send the whole file again.") from error
        if isinstance(error, MultipartParseError):
            raise InvalidArgument("The multipart form is broken.", hint="Send one part named `file`.") from error
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise ResourceExhausted("The disk of the platform is full.", hint="Delete datasets or models.") from error


class _Form:
    """Feeds the data of the part named `file` to the sink; ignores small other fields."""

    def __init__(self, sink: _Sink, boundary: bytes) -> None:
        self.sink, self.filename, self.ignored = sink, "", 0
        self.files, self.ended, self.in_file = 0, False, False
        self.field, self.value = b"", b""
        self.disposition = b""
        self.parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": self._on_field,
                "on_header_value": self._on_value,
                "on_header_end": self._on_header,
                "on_headers_finished": self._on_headers,
                "on_part_data": self._on_data,
                "on_end": self._on_end,
            },
        )

    def feed(self, chunk: bytes) -> None:
        self.parser.write(chunk)

    def check_complete(self) -> None:
        if not self.ended:
            raise InvalidArgument("The multipart form ends early.", hint="Send the whole file again.")
        if self.files != 1:
            raise InvalidArgument(f"The form has {self.files} parts named `file`.", hint="Send exactly one.")

    def _begin(self) -> None:
        self.disposition = b""

    def _on_field(self, data: bytes, start: int, end: int) -> None:
        self.field += data[start:end]

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self.value += data[start:end]

    def _on_header(self) -> None:
        if self.field.lower() == b"content-disposition":
            self.disposition = self.value
        self.field, self.value = b"", b""

    def _on_headers(self) -> None:
        _, options = parse_options_header(self.disposition)
        self.in_file = options.get(b"name") == b"file"
        if self.in_file:
            self.files += 1
            self.filename = Path(options.get(b"filename", b"").decode("utf-8", "replace").replace("\\", "/")).name

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        if self.in_file and self.files == 1:
            self.sink.write(memoryview(data)[start:end])
            return
        self.ignored += end - start
        if self.ignored > _OVERHEAD:
            raise InvalidArgument("The form has large parts beside `file`.", hint="Send one part named `file`.")

    def _on_end(self) -> None:
        self.ended = True


async def _chunks(request: Request) -> AsyncIterator[bytes]:
    async for chunk in request.stream():
        if chunk:
            yield chunk


async def _drain(request: Request) -> None:
    # A client in the middle of sending would see a broken connection instead of the reason.
    seen = 0
    async for chunk in request.stream():
        seen += len(chunk)
        if seen > _DRAIN_LIMIT:
            return


def _boundary_of(request: Request) -> bytes:
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    boundary = options.get(b"boundary")
    if kind != b"multipart/form-data" or not boundary:
        raise InvalidArgument(
            "The upload is not multipart/form-data.", hint="Send the file as a form part named `file`."
        )
    return boundary
