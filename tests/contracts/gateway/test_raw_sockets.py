"""The corpus of bypasses as bytes on a socket, and HTTP/1.1 tricks: none of it reaches the platform."""

import json
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from agent.app import build_turn_app
from agent.binding import bind_turn
from agent.turns import Turn

CORPUS: dict[str, Any] = yaml.safe_load((Path(__file__).parents[2] / "fixtures/bypasses.yaml").read_text("utf-8"))
SECOND: dict[str, Any] = yaml.safe_load(
    (Path(__file__).parents[2] / "fixtures/bypasses_second.yaml").read_text("utf-8")
)
VERBS = [
    "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY", "LINK", "UNLINK", "BIND", "UNBIND", "REBIND", "COPY", "MOVE",
    "MKCOL", "LOCK", "UNLOCK", "PROPFIND", "PROPPATCH", "SEARCH", "ACL", "REPORT", "MKACTIVITY", "CHECKOUT", "MERGE",
    "M-SEARCH", "NOTIFY", "SUBSCRIBE", "UNSUBSCRIBE", "PURGE", "MKCALENDAR", "SOURCE",
]  # fmt: skip
REFUSED = (400, 403, 404, 405, 411, 413, 501)


def send(bench: Any, raw: bytes) -> bytes:
    """Send bytes, half-close, read until the server closes or says nothing for a while."""
    address = urlsplit(str(bench.me.base_url))
    with socket.create_connection((address.hostname, address.port), timeout=5) as connection:
        connection.sendall(raw)
        received = b""
        try:
            while block := connection.recv(65536):
                received += block
        except (TimeoutError, ConnectionResetError):
            pass
    return received


def request(line: str, *headers: str, body: bytes = b"") -> bytes:
    lines = [line + " HTTP/1.1", "Host: gateway", "Connection: close", *headers]
    return "\r\n".join(lines).encode("utf-8", "surrogatepass") + b"\r\n\r\n" + body


@pytest.mark.parametrize("family", sorted(CORPUS["requests"]))
def test_no_request_of_the_corpus_arrives(bench: Any, family: str) -> None:
    for line in CORPUS["requests"][family]:
        answer = send(bench, request(line))
        assert int(answer.split(b" ", 2)[1]) in REFUSED, (line, answer[:200])
    assert bench.platform.targets() == []


@pytest.mark.parametrize("family", sorted(set(SECOND["requests"]) - {"honest"}))
def test_no_request_of_the_second_corpus_arrives(bench: Any, family: str) -> None:
    for line in SECOND["requests"][family]:
        if "#" not in line:
            answer = send(bench, request(line))
            assert int(answer.split(b" ", 2)[1]) in REFUSED, (line, answer[:200])
    assert bench.platform.targets() == []


@pytest.fixture
def runner_front(bench: Any, stage: Any) -> Any:
    """The bench, behind all that stands before the gateway on a runner's socket."""
    control: Any = SimpleNamespace(gateway=bench.gateway)
    turn = Turn("acme", "1779157376-41e1", 1, 1, 0, "ann", "user", "pilot")
    stage.front = bind_turn(build_turn_app(control), turn)
    return bench


def test_a_runner_is_denied_by_the_gateway_whatever_the_verb(runner_front: Any) -> None:
    assert send(runner_front, request("GET /v1/accounts/acme/models")).startswith(b"HTTP/1.1 200")
    for verb in VERBS:
        answer = send(runner_front, request(f"{verb} /v1/accounts/acme/models"))
        assert answer.startswith(b"HTTP/1.1 403"), (verb, answer[:200])
        error = json.loads(answer.partition(b"\r\n\r\n")[2])["error"]
        assert (error["status"], error["details"][0]["metadata"]["rule"]) == ("PERMISSION_DENIED", "unknown-method")
        assert verb in error["message"]
    assert send(runner_front, request("HEAD /v1/accounts/acme/models")).startswith(b"HTTP/1.1 403")
    assert runner_front.platform.targets() == ["GET /v1/accounts/acme/models"]
    with runner_front.engine.connect() as db:
        denied = db.exec_driver_sql("SELECT count(*) FROM gateway_audit WHERE verdict = 'denied'").scalar_one()
    assert denied == len(VERBS) + 1


@pytest.mark.parametrize(
    ("line", "method"),
    [
        ("DELETE /v1/accounts/acme/deployments/d", "DeleteDeployment"),
        ("POST /v1/accounts/acme/sessions/s:cancel", "CancelSession"),
        ("GET /v1/accounts/acme/users", "ListUsers"),
        ("GET /openapi.json", "GetApiDescription"),
    ],
)
def test_a_denial_names_the_method_and_the_rule(runner_front: Any, line: str, method: str) -> None:
    error = json.loads(send(runner_front, request(line)).partition(b"\r\n\r\n")[2])["error"]
    assert error["status"] == "PERMISSION_DENIED"
    assert error["details"][0]["metadata"] == {"method": method, "rule": "manifest"}
    assert method in error["message"]
    assert "[rule manifest]" in error["message"]


def test_no_header_of_the_corpus_arrives(bench: Any) -> None:
    for line in CORPUS["headers"]:
        if not line.startswith("Content-Type"):
            answer = send(bench, request("GET /v1/accounts/acme/datasets/d1", line))
            assert int(answer.split(b" ", 2)[1]) in REFUSED, (line, answer[:200])
    assert bench.platform.targets() == []


SMUGGLED = b"DELETE /v1/accounts/acme/models/m HTTP/1.1\r\nHost: x\r\n\r\n"
TRICKS: dict[str, bytes] = {
    "length and chunked": request(
        "POST /v1/accounts/acme/datasets/d1:validateUpload", "Content-Length: 4", "Transfer-Encoding: chunked",
        "Content-Type: application/json", body=b"0\r\n\r\n" + SMUGGLED,
    ),
    "two lengths": request(
        "POST /v1/accounts/acme/datasets/d1:validateUpload", "Content-Length: 0", "Content-Length: 60", body=SMUGGLED
    ),
    "odd chunked": request("GET /v1/accounts/acme/models", "Transfer-Encoding: xchunked", body=SMUGGLED),
    "body on a read": request("GET /v1/accounts/acme/models", f"Content-Length: {len(SMUGGLED)}", body=SMUGGLED),
    "folded header": request("GET /v1/accounts/acme/models", "X-A: b\r\n Transfer-Encoding: chunked", body=SMUGGLED),
    "space before colon": request("GET /v1/accounts/acme/models", "Transfer-Encoding : chunked", body=SMUGGLED),
    "bare newline": b"GET /v1/accounts/acme/models HTTP/1.1\nHost: gateway\nX-HTTP-Method-Override: DELETE\n\n",
    "absolute form": request("DELETE http://gateway/v1/accounts/acme/models/m"),
    "absolute form elsewhere": request("GET http://user@other.example/v1/accounts/other/models/m"),
    "authority": request("CONNECT other.example:443"),
    "huge header": request("GET /v1/accounts/acme/models", "X-HTTP-Method: DELETE", "X-A: " + "a" * 200_000),
    "huge path": request("GET /v1/accounts/acme/models/" + "a" * 100_000),
    "no version": b"DELETE /v1/accounts/acme/models/m\r\n\r\n",
    "preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "garbage": bytes(range(256)) * 4,
    "nul in the line": b"GET /v1/accounts/acme/models\x00/m HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    "latin-1 path": b"GET /v1/accounts/acme/models/\xe9 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
}  # fmt: skip


@pytest.mark.parametrize("name", TRICKS)
def test_no_trick_of_the_protocol_gets_through(bench: Any, name: str) -> None:
    answer = send(bench, TRICKS[name])
    assert not answer.startswith(b"HTTP/1.1 200"), answer[:200]
    assert [t for t in bench.platform.targets() if not t.startswith("GET /v1/accounts/acme/models")] == []


def test_pipelined_requests_are_decided_one_by_one(bench: Any) -> None:
    read = b"GET /v1/accounts/acme/models HTTP/1.1\r\nHost: x\r\n\r\n"
    answer = send(bench, read + SMUGGLED + request("GET /v1/accounts/acme/models"))
    assert [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:]] == [200, 403, 200]
    assert bench.platform.targets() == ["GET /v1/accounts/acme/models"] * 2


def test_a_canary_credential_is_never_shown(bench: Any) -> None:
    bench.platform.resources["accounts/acme/models/m"] = {"name": "accounts/acme/models/m"}
    shown = send(bench, request("GET /v1/accounts/acme/models/m")) + send(bench, request("GET /v1/accounts/x/models/m"))
    with bench.engine.connect() as db:
        rows = [dict(row) for row in db.exec_driver_sql("SELECT * FROM gateway_audit").mappings()]
    text = shown.decode() + json.dumps(rows) + repr(bench.told) + repr(bench.settings)
    assert "must_never_be_seen" not in text
    assert "must_never_be_seen" in bench.platform.seen[0].headers["authorization"]
