"""HTTP over the session's Unix socket: the only way out of the sandbox. The socket is the identity [DESIGN 5]."""

import hashlib
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import httpx

from pilotlight.crashpoints import Point, reach
from pilotlight.errors import PilotlightError, Unavailable, kind_of
from runner.calls import Call

_T = TypeVar("_T")
log = logging.getLogger(__name__)

_ANSWER_SECONDS = 120.0
_PATIENCE = 120.0
"""Seconds to keep trying while the control process or the platform is away."""


class ScalingUp(Unavailable):
    """The deployment had scaled to zero and is starting; ask again after `retry_after` seconds [P76]."""

    def __init__(self, message: str, retry_after: float | None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Client:
    """Thread-safe. Every write is idempotent (by effect key, event key, question ID), so all are retried."""

    def __init__(self, socket: Path, *, patience: float = _PATIENCE) -> None:
        transport = httpx.HTTPTransport(uds=str(socket), limits=httpx.Limits(max_connections=64))
        self._http = httpx.Client(
            transport=transport, base_url="http://gateway", timeout=httpx.Timeout(_ANSWER_SECONDS, connect=5)
        )
        self._patience = patience

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def get(self, path: str, **params: str | int) -> dict[str, Any]:
        """GET a JSON object. Raises the PilotlightError of a refusal."""
        return self._json(lambda: self._http.get(path, params=params))

    def post(self, path: str, body: dict[str, Any], timeout: float = _ANSWER_SECONDS) -> dict[str, Any]:
        """POST a JSON object (Turn API, inference); `timeout` is the wait for its answer, in seconds."""
        return self._json(lambda: self._http.post(path, json=body, timeout=httpx.Timeout(timeout, connect=5)))

    def send(self, call: Call, session: str) -> dict[str, Any]:
        """Send a planned call under its effect key: sent twice, it happens once."""
        headers = {"Idempotency-Key": f"{session}/{call.step}"}
        reach(Point.RUNNER_CALL_PLANNED)
        answer = self._json(
            lambda: self._http.request(call.verb, call.path, params=call.query, json=call.body, headers=headers)
        )
        reach(Point.RUNNER_CALL_ANSWERED)
        return answer

    def upload(self, path: str, file: Path, key: str) -> dict[str, Any]:
        """Stream a file as the multipart field `file`."""

        def once() -> httpx.Response:
            with file.open("rb") as stream:
                parts: dict[str, tuple[str, BinaryIO, str]] = {"file": (file.name, stream, "application/jsonl")}
                return self._http.post(path, files=parts, headers={"Idempotency-Key": key}, timeout=600)

        answer = self._json(once)
        reach(Point.RUNNER_UPLOAD_ANSWERED)
        return answer

    def download(self, path: str, target: Path) -> str:
        """Stream a body into `target`, whole or not at all; returns its SHA-256 in hex."""

        def once() -> str:
            digest, part = hashlib.sha256(), target.with_name(target.name + ".part")
            with self._http.stream("GET", path) as response:
                if response.is_error:
                    response.read()
                    raise error_of(response)
                with part.open("wb") as stream:
                    for block in response.iter_bytes(1 << 20):
                        digest.update(block)
                        stream.write(block)
            reach(Point.RUNNER_DOWNLOAD_WRITTEN)
            part.replace(target)
            return digest.hexdigest()

        return self._patiently(once)

    def _json(self, once: Callable[[], httpx.Response]) -> dict[str, Any]:
        def checked() -> dict[str, Any]:
            response = once()
            if response.is_error:
                raise error_of(response)
            return response.json() if response.content else {}

        return self._patiently(checked)

    def _patiently(self, once: Callable[[], _T]) -> _T:
        deadline, pause = time.monotonic() + self._patience, 0.2
        while True:
            try:
                return once()
            except ScalingUp:
                raise
            except (httpx.TransportError, Unavailable) as error:
                if time.monotonic() + pause > deadline:
                    message = "The control process or the platform did not answer."
                    raise Unavailable(message, hint=str(error)) from error
                log.info("retrying in %.1f s: %s", pause, error)
            time.sleep(pause)
            pause = min(pause * 1.7, 10.0)


def error_of(response: httpx.Response) -> PilotlightError:
    """The error a response stands for: our shape, the platform's grpc shape, or an inference error."""
    try:
        body: Any = response.json()
    except ValueError:
        body = {}
    inner: Any = body.get("error", body) if isinstance(body, dict) else {}
    if not isinstance(inner, dict):
        inner = {"message": str(inner)}
    message = str(inner.get("message") or f"HTTP {response.status_code} from {response.request.url.path}")
    if inner.get("code") == "DEPLOYMENT_SCALING_UP" or "DEPLOYMENT_SCALING_UP" in message:
        header = response.headers.get("retry-after", "")
        return ScalingUp(message, float(header) if header.replace(".", "", 1).isdigit() else None)
    details = [detail for detail in inner.get("details") or [] if isinstance(detail, dict)]
    return kind_of(inner, response.status_code)(message, details=details)
