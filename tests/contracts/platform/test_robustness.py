"""No request, however malformed, is answered with a defect (500) or a body that is not JSON of the documented shape."""

import http.client
import json
from typing import Any, cast
from urllib.parse import urlsplit

import httpx
import pytest
import schemathesis
from hypothesis import given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode

OFFERED_REFUSALS = (501, 503)
OURS = r"^/v1/(whoami|accounts$|accounts/\{account\}(/(users|datasets|models).*)?$|accounts/fireworks)|^/signed"


def test_generated_requests_are_answered(platform_server: Any) -> None:
    schema = schemathesis.openapi.from_url(f"{platform_server.base_url}/openapi.json").include(path_regex=OURS)
    operations: list[Any] = [cast("Any", result).ok() for result in schema.get_all_operations()]
    assert len(operations) >= 25
    for operation in operations:
        send_generated(operation, platform_server.key)


def send_generated(operation: Any, key: str) -> None:
    """Requests that fit the schema and requests that do not, half of them to an account that exists."""

    @given(
        st.one_of(operation.as_strategy(), operation.as_strategy(generation_mode=GenerationMode.NEGATIVE)),
        st.booleans(),
    )
    @settings(max_examples=8)
    def answered(case: Case[Any], known: bool) -> None:
        if known and "account" in (case.path_parameters or {}):
            case.path_parameters["account"] = "acme"
        response = case.call(headers={"Authorization": f"Bearer {key}"})
        check(response.status_code, response.content)

    answered()


def check(status: int, content: bytes) -> None:
    assert status < 500 or status in OFFERED_REFUSALS, content
    if status >= 400:
        body = json.loads(content)
        assert set(body) == {"code", "message", "details"}, body
        assert body["message"]


ROUTES = [
    ("POST", "/v1/accounts/acme/users"),
    ("PATCH", "/v1/accounts/acme/users/admin"),
    ("POST", "/v1/accounts/acme/users/admin/apiKeys"),
    ("POST", "/v1/accounts/acme/users/admin/apiKeys:delete"),
    ("POST", "/v1/accounts/acme/datasets"),
    ("POST", "/v1/accounts/acme/datasets/none:getUploadEndpoint"),
    ("POST", "/v1/accounts/acme/datasets/none:validateUpload"),
    ("POST", "/v1/accounts/acme/datasets/none:upload"),
    ("PATCH", "/v1/accounts/acme/datasets/none"),
    ("POST", "/v1/accounts/acme/models"),
    ("POST", "/v1/accounts/acme/models/none:getUploadEndpoint"),
    ("POST", "/v1/accounts/acme/models/none:prepare"),
    ("PATCH", "/v1/accounts/acme/models/none"),
    ("POST", "/v1/accounts/fireworks/models:import"),
]
BODIES = [
    b"",
    b"{",
    b"null",
    b"[]",
    b'"x"',
    b"\xff\xfe{",
    b'{"a": NaN}',
    b'{"displayName": "\\ud800"}',
    b'{"datasetId": "x", "dataset": {"evalProtocol": {"a": "\\udfff"}}}',
    b'{"datasetId": "' + b"x" * 100_000 + b'", "dataset": {}}',
    b'{"filenameToSize": {"../../etc/passwd": "1"}}',
    b'{"filenameToSize": {"a": "99999999999999999999999999"}}',
    b'{"filenameToSize": {"": 1}}',
    b'{"filenameToSize": {"a\\u0000b": 1}}',
    b'{"source": "/\\u0000", "modelId": "x"}',
    b'{"source": "~nobody-here/x", "modelId": "x"}',
    b"[" * 5000 + b"]" * 5000,
    b'{"a":' * 3000 + b"1" + b"}" * 3000,
]


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_raw_bodies_are_refused(platform_server: Any, method: str, path: str) -> None:
    with platform_server.http() as http:
        for body in BODIES:
            for kind in ("application/json", "text/plain", "application/json; charset=utf-16"):
                response = http.request(method, path, content=body, headers={"Content-Type": kind})
                check(response.status_code, response.content)
                assert response.status_code >= 400 or path.endswith((":validateUpload", ":prepare")), body


@pytest.mark.parametrize(
    "path",
    [
        "/v1/accounts/acme/datasets/%00",
        "/v1/accounts/acme/datasets/%ff%fe",
        "/v1/accounts/acme/datasets/..%2f..%2fetc",
        "/v1/accounts/acme/datasets/" + "x" * 5000,
        "/v1/accounts/acme/datasets/a:b:c",
        "/v1/accounts/%E2%80%AE/datasets",
        "/v1/accounts//datasets",
        "/signed/files/../admin.key",
        "/signed/files/%2e%2e/%2e%2e/etc/passwd",
        "/signed/uploads/x/y?expires=x&signature=%ff",
        "/v1/accounts/acme/datasets?filter=%ff&orderBy=%00&pageSize=1e9",
        "/v1/accounts/acme/datasets?pageSize=99999999999999999999999999999999",
    ],
)
@pytest.mark.parametrize("method", ["GET", "PUT", "POST", "PATCH", "DELETE"])
def test_odd_paths_are_refused(platform_server: Any, method: str, path: str) -> None:
    # httpx tidies URLs up: the raw request line is written by hand.
    url = urlsplit(platform_server.base_url)
    connection = http.client.HTTPConnection(str(url.hostname), url.port, timeout=30)
    connection.putrequest(method, path, skip_accept_encoding=True)
    connection.putheader("Authorization", f"Bearer {platform_server.key}")
    connection.putheader("Content-Length", "0")
    connection.endheaders()
    response = connection.getresponse()
    content = response.read()
    connection.close()
    assert response.status < 500 or response.status in OFFERED_REFUSALS, content
    assert response.status >= 400 or "pageSize=9999" in path


@pytest.mark.parametrize("value", ["Bearer", "Basic abc", "bearer x y", "Bearer " + "x" * 9000, "Bearer fw_"])
def test_odd_headers_are_refused(platform_server: Any, value: str) -> None:
    response = httpx.get(f"{platform_server.base_url}/v1/accounts", headers={"Authorization": value})
    assert response.status_code == 401
    check(response.status_code, response.content)
