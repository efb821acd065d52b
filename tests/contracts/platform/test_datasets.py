"""Datasets through the official SDK: both uploads, immutability, validation texts, and nothing left behind."""

import hashlib
import json
import os
import socket
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import fireworks
import httpx
import pytest
from fireworks import Fireworks
from fireworks.lib.dataset_upload import DatasetUploadError, upload_dataset_shards

GOOD = json.dumps({"messages": [{"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": "4"}]}).encode()
FILE = b"\n".join([GOOD] * 5) + b"\n"


def put(url: str, data: bytes, span: str | None = None) -> httpx.Response:
    headers = {"Content-Type": "application/octet-stream"}
    headers["X-Goog-Content-Length-Range"] = span or f"{len(data)},{len(data)}"
    return httpx.put(url, content=data, headers=headers, timeout=60)


def endpoints(sdk: Fireworks, dataset: str, **sizes: int) -> dict[str, str]:
    named = {f"{name}.jsonl": str(size) for name, size in sizes.items()}
    urls = sdk.datasets.get_upload_endpoint(dataset, filename_to_size=named).filename_to_signed_urls
    assert urls is not None
    return urls


def download(sdk: Fireworks, dataset: str) -> dict[str, bytes]:
    urls = sdk.datasets.get_download_endpoint(dataset).filename_to_signed_urls
    assert urls is not None
    return {name: httpx.get(url).raise_for_status().content for name, url in urls.items()}


def upload_files(server: Any) -> list[str]:
    folder = server.home / "platform" / "uploads"
    return [str(path) for path in folder.rglob("*") if path.is_file()]


def test_multipart_upload_as_documented(sdk: Fireworks, platform_server: Any, tmp_path: Path) -> None:
    path = tmp_path / "sums.jsonl"
    path.write_bytes(FILE)
    made = sdk.datasets.create(dataset_id="sums", dataset={"user_uploaded": {}, "example_count": "5"})
    assert (made.name, made.state, made.example_count) == ("accounts/acme/datasets/sums", "UPLOADING", "5")
    uploaded = sdk.datasets.upload("sums", file=path)
    assert (uploaded.id, uploaded.bytes, uploaded.filename) == ("sums", len(FILE), "sums.jsonl")
    sdk.datasets.validate_upload("sums", body={})
    dataset = sdk.datasets.get("sums")
    assert (dataset.state, dataset.example_count, dataset.format) == ("READY", "5", "CHAT")
    assert dataset.to_dict()["contentHash"] == hashlib.sha256(FILE).hexdigest()
    assert dataset.created_by == "admin@acme"
    assert download(sdk, "sums") == {"sums.jsonl": FILE}
    assert upload_files(platform_server) == []


def test_signed_upload_in_shards(sdk: Fireworks, platform_server: Any) -> None:
    sdk.datasets.create(dataset_id="shards", dataset={"user_uploaded": {}})
    first, second = b"\n".join([GOOD] * 2), b"\xef\xbb\xbf" + GOOD + b"\n"
    urls = endpoints(sdk, "shards", a=len(first), b=len(second))
    assert put(urls["b.jsonl"], second).status_code == 200
    with pytest.raises(fireworks.BadRequestError, match=r"misses a\.jsonl"):
        sdk.datasets.validate_upload("shards", body={})
    assert put(urls["a.jsonl"], b"x" * len(first)).status_code == 200
    assert put(urls["a.jsonl"], first).status_code == 200
    sdk.datasets.validate_upload("shards", body={})
    sdk.datasets.validate_upload("shards", body={})
    assert sdk.datasets.get("shards").example_count == "3"
    assert list(download(sdk, "shards").values()) == [first + b"\n" + GOOD + b"\n"]
    assert put(urls["a.jsonl"], first).status_code == 404
    assert upload_files(platform_server) == []


def test_signed_urls_are_bound_to_size_method_path_and_time(sdk: Fireworks, platform_server: Any) -> None:
    sdk.datasets.create(dataset_id="bound", dataset={})
    url = endpoints(sdk, "bound", a=len(FILE))["a.jsonl"]
    refused = [
        (put(url, FILE, "1,999999"), 400),
        (put(url, FILE + b"x", f"{len(FILE)},{len(FILE)}"), 400),
        (put(url, FILE[:-1], f"{len(FILE)},{len(FILE)}"), 400),
        (put(url.replace("a.jsonl", "b.jsonl"), FILE), 403),
        (put(url.replace(f"size={len(FILE)}", "size=9"), FILE, "9,9"), 403),
        (put(url.replace("expires=", "expires=9"), FILE), 403),
        (put(url.split("?")[0], FILE), 403),
        (put(url + "&size=1", FILE), 403),
        (httpx.get(url), 405),
    ]
    assert [response.status_code for response, _ in refused] == [code for _, code in refused]
    download_url = platform_server.base_url + "/signed/files/admin.key?filename=k&expires=99999999999&signature=00"
    assert httpx.get(download_url).status_code == 403
    newer = endpoints(sdk, "bound", a=len(FILE))["a.jsonl"]
    assert put(url, FILE).status_code == 404
    assert put(newer, FILE).status_code == 200
    sdk.datasets.delete("bound")
    assert put(newer, FILE).status_code == 404
    assert upload_files(platform_server) == []


def test_the_shard_helper_of_the_sdk_wants_https(sdk: Fireworks, tmp_path: Path) -> None:
    """Known: `upload_dataset_shards` refuses signed URLs that are not https, and a local server speaks http."""
    (tmp_path / "a.jsonl").write_bytes(FILE)
    sdk.datasets.create(dataset_id="helper", dataset={"user_uploaded": {}})
    with pytest.raises(DatasetUploadError, match="https"):
        upload_dataset_shards(sdk, "helper", str(tmp_path))


def test_an_invalid_file_says_line_and_reason_and_can_be_replaced(sdk: Fireworks, platform_server: Any) -> None:
    sdk.datasets.create(dataset_id="broken", dataset={})
    bad = b"\n".join([GOOD] * 41 + [b'{"messages": ', b'{"id": 1}'] + [GOOD] * 3)
    with pytest.raises(fireworks.BadRequestError) as caught:
        sdk.datasets.upload("broken", file=("bad.jsonl", bad))
    body: Any = caught.value.body
    assert body["code"] == 3
    assert body["message"].startswith("Dataset validation failed: invalid JSON on line 42")
    assert "Missing required field 'messages' on line 43" in body["message"]
    violations = body["details"][0]["fieldViolations"]
    assert [violation["field"] for violation in violations] == ["line 42", "line 43"]
    dataset = sdk.datasets.get("broken")
    assert dataset.state == "UPLOADING"
    assert dataset.status is not None
    assert dataset.status.code == "INVALID_ARGUMENT"
    assert "line 42" in (dataset.status.message or "")
    assert upload_files(platform_server) == []
    sdk.datasets.upload("broken", file=("good.jsonl", FILE))
    repaired = sdk.datasets.get("broken")
    assert repaired.state == "READY"
    assert repaired.status is not None
    assert repaired.status.code == "OK"


def test_invalid_shards_are_refused_at_validation_and_can_be_sent_again(sdk: Fireworks, platform_server: Any) -> None:
    sdk.datasets.create(dataset_id="broken-shards", dataset={})
    urls = endpoints(sdk, "broken-shards", a=len(FILE), b=2)
    put(urls["a.jsonl"], FILE)
    put(urls["b.jsonl"], b"[]")
    with pytest.raises(fireworks.BadRequestError, match=r"not a JSON object on line 6.*a\.jsonl, b\.jsonl"):
        sdk.datasets.validate_upload("broken-shards", body={})
    assert put(urls["b.jsonl"], b"\n\n").status_code == 200
    sdk.datasets.validate_upload("broken-shards", body={})
    assert sdk.datasets.get("broken-shards").example_count == "5"
    assert upload_files(platform_server) == []


def test_a_dataset_is_immutable_but_its_display_name(sdk: Fireworks) -> None:
    sdk.datasets.create(dataset_id="fixed", dataset={"display_name": "old"})
    sdk.datasets.upload("fixed", file=("a.jsonl", FILE))
    with pytest.raises(fireworks.BadRequestError, match="cannot be changed"):
        sdk.datasets.upload("fixed", file=("a.jsonl", FILE))
    with pytest.raises(fireworks.BadRequestError, match="cannot be changed"):
        endpoints(sdk, "fixed", a=3)
    with pytest.raises(fireworks.BadRequestError, match="exampleCount cannot be changed"):
        sdk.datasets.update("fixed", example_count="7")
    assert sdk.datasets.update("fixed", display_name="new", example_count="5").display_name == "new"
    assert sdk.datasets.get("fixed").example_count == "5"
    with pytest.raises(fireworks.BadRequestError, match="updateMask"):
        sdk.datasets.update("fixed", display_name="x", extra_query={"updateMask": "state"})


def test_equal_content_is_stored_once_and_goes_with_the_last(sdk: Fireworks, platform_server: Any) -> None:
    data = FILE + GOOD.replace(b"4", b"four")
    blob = platform_server.home / "platform" / "blobs" / hashlib.sha256(data).hexdigest()
    for name in ("twin-a", "twin-b"):
        sdk.datasets.create(dataset_id=name, dataset={})
        sdk.datasets.upload(name, file=("a.jsonl", data))
    assert blob.stat().st_size == len(data)
    sdk.datasets.delete("twin-a")
    assert blob.exists()
    assert list(download(sdk, "twin-b").values()) == [data]
    sdk.datasets.delete("twin-b")
    assert not blob.exists()
    with pytest.raises(fireworks.NotFoundError):
        sdk.datasets.get("twin-b")


def test_larger_than_150_mb_is_refused_with_the_way_out(platform_server: Any) -> None:
    with platform_server.client() as sdk:
        sdk.datasets.create(dataset_id="large", dataset={})
    boundary = "b0undary"
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n'.encode()

    def body() -> Any:
        yield head
        for _ in range(151):
            yield b" " * 1_000_000
        yield f"\r\n--{boundary}--\r\n".encode()

    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    with platform_server.http() as http:
        path = "/v1/accounts/acme/datasets/large:upload"
        for extra in ({}, {"Content-Length": str(len(head) + 151_000_000 + len(boundary) + 8)}):
            response = http.post(path, content=body(), headers={**headers, **extra})
            assert response.status_code == 400
            assert "150 MB" in response.json()["message"]
            assert "getUploadEndpoint" in response.json()["message"]
    assert upload_files(platform_server) == []


def test_an_upload_that_breaks_off_leaves_nothing(platform_server: Any, sdk: Fireworks) -> None:
    sdk.datasets.create(dataset_id="halved", dataset={})
    url = urlsplit(platform_server.base_url)
    head = (
        "POST /v1/accounts/acme/datasets/halved:upload HTTP/1.1\r\nHost: x\r\n"
        f"Authorization: Bearer {platform_server.key}\r\nContent-Length: 5000000\r\n"
        "Content-Type: multipart/form-data; boundary=b\r\n\r\n"
        '--b\r\nContent-Disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n'
    )
    with socket.create_connection((url.hostname, url.port)) as connection:
        connection.sendall(head.encode() + b"x" * 1_000_000)
        wait_for(lambda: bool(upload_files(platform_server)))
    wait_for(lambda: not upload_files(platform_server))
    assert sdk.datasets.get("halved").state == "UPLOADING"
    sdk.datasets.upload("halved", file=("a.jsonl", FILE))


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", "multipart/form-data; boundary=b"),
        (b"--b\r\n", "multipart/form-data; boundary=b"),
        (b"hello", "multipart/form-data; boundary=b"),
        (FILE, "application/octet-stream"),
        (FILE, "multipart/form-data"),
        (
            b'--b\r\nContent-Disposition: form-data; name="other"\r\n\r\nx\r\n--b--\r\n',
            "multipart/form-data; boundary=b",
        ),
        (
            b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\nx\r\n' * 2 + b"--b--\r\n",
            "multipart/form-data; boundary=b",
        ),
        (b"--b\r\n\r\n\r\n--b--\r\n", "multipart/form-data; boundary=b"),
    ],
)
def test_broken_forms_are_refused(platform_server: Any, content: bytes, kind: str) -> None:
    with platform_server.client() as sdk:
        try:
            sdk.datasets.create(dataset_id="forms", dataset={})
        except fireworks.ConflictError:
            assert sdk.datasets.get("forms").state == "UPLOADING"
    with platform_server.http() as http:
        response = http.post("/v1/accounts/acme/datasets/forms:upload", content=content, headers={"Content-Type": kind})
    assert response.status_code == 400, response.text
    assert upload_files(platform_server) == []


def test_what_the_platform_does_not_do_is_said(sdk: Fireworks) -> None:
    with pytest.raises(fireworks.InternalServerError, match="reads no buckets") as caught:
        sdk.datasets.create(dataset_id="bucket", dataset={"external_url": "s3://bucket/data.jsonl"})
    assert caught.value.status_code == 501
    assert caught.value.response.headers["x-should-retry"] == "false"


def test_contributors_manage_only_their_own(sdk: Fireworks, platform_server: Any) -> None:
    sdk.users.create(role="contributor", user_id="carl")
    sdk.users.create(role="inference-user", user_id="ines")
    sdk.datasets.create(dataset_id="admins", dataset={})
    keys = [sdk.api_keys.create(user, api_key={}).key for user in ("carl", "ines")]
    with platform_server.client(keys[0]) as carl:
        carl.datasets.create(dataset_id="carls", dataset={})
        carl.datasets.upload("carls", file=("a.jsonl", FILE))
        with pytest.raises(fireworks.PermissionDeniedError, match="contributor"):
            carl.datasets.delete("admins")
        with pytest.raises(fireworks.PermissionDeniedError, match="contributor"):
            carl.datasets.upload("admins", file=("a.jsonl", FILE))
        carl.datasets.delete("carls")
    with platform_server.client(keys[1]) as ines:
        assert ines.datasets.get("admins").state == "UPLOADING"
        with pytest.raises(fireworks.PermissionDeniedError, match="inference-user"):
            ines.datasets.create(dataset_id="x", dataset={})


def wait_for(holds: Any, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not in time (pid {os.getpid()})"
        time.sleep(0.02)
