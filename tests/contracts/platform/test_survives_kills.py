"""The platform killed with -9 wherever it works: nothing half is left, and nothing that was done is lost."""

import json
import os
import signal
import socket
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.platform import (
    PlatformProcess,
    PlatformServer,
    import_base,
    raw_job,
    upload_chats,
    wait_for_job,
    wait_until,
)

pytestmark = pytest.mark.slow
JOBS = "/v1/accounts/acme/supervisedFineTuningJobs"


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlatformProcess]:
    platform = PlatformProcess(tmp_path_factory.mktemp("killed"))
    yield platform
    platform.stop()


@pytest.fixture(scope="module")
def server(process: PlatformProcess, tiny_checkpoint: Path) -> PlatformServer:
    """As first started; later starts have other ports."""
    server = process.start()
    import_base(server, tiny_checkpoint, "tiny-base")
    upload_chats(server, "chats", 24)
    return server


def restart(process: PlatformProcess) -> PlatformServer:
    process.kill()
    server = process.start()
    check_database(server)
    return server


def check_database(server: PlatformServer) -> None:
    with sqlite3.connect(server.home / "platform" / "platform.db") as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    db.close()


def start_job(server: PlatformServer, name: str, epochs: int) -> None:
    body = {
        "dataset": "accounts/acme/datasets/chats", "baseModel": "accounts/fireworks/models/tiny-base",
        "epochs": epochs,
    }  # fmt: skip
    with server.http() as http:
        http.post(f"{JOBS}?supervisedFineTuningJobId={name}", json=body).raise_for_status()


def folder_of(server: PlatformServer, job: str) -> Path:
    return server.home / "platform" / "jobs" / "acme" / job


def trainer_of(server: PlatformServer, job: str) -> int:
    """The process of the job's trainer: the one that its files are open in."""
    spec = str(folder_of(server, job) / "spec.json").encode()
    found = [entry for entry in Path("/proc").glob("[0-9]*/cmdline") if spec in read_or_nothing(entry).split(b"\0")]
    return int(found[0].parent.name)


def read_or_nothing(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def curve(server: PlatformServer, job: str) -> list[Any]:
    rows = [json.loads(line) for line in (folder_of(server, job) / "metrics.jsonl").read_text().splitlines()]
    return [(row.get("step"), row.get("loss"), row.get("evalLoss")) for row in rows]


def step_of(server: PlatformServer, job: str) -> int:
    return int(raw_job(server, job)["localProgress"].get("step") or 0)


def test_a_killed_trainer_has_the_loss_curve_of_an_unbroken_one(
    process: PlatformProcess, server: PlatformServer
) -> None:
    start_job(server, "broken", 60)
    with server.client() as sdk:
        wait_for_job(sdk, "broken", "RUNNING")
        wait_until(lambda: step_of(server, "broken") >= 10)
        os.kill(trainer_of(server, "broken"), signal.SIGKILL)
        start_job(server, "whole", 60)
        for job in ("broken", "whole"):
            wait_for_job(sdk, job, "COMPLETED", seconds=180)
    assert len(curve(server, "whole")) > 50
    assert curve(server, "broken") == curve(server, "whole")


def test_killed_between_the_end_of_a_run_and_its_model(process: PlatformProcess, server: PlatformServer) -> None:
    server = restart(process)
    start_job(server, "late", 20)
    with server.client() as sdk:
        wait_for_job(sdk, "late", "RUNNING")
    os.kill(process.pid, signal.SIGSTOP)
    progress = folder_of(server, "late") / "progress.json"
    wait_until(lambda: json.loads(progress.read_text())["state"] in ("completed", "COMPLETED"))
    store = server.home / "platform" / "models"
    (store / ".import-left").mkdir(parents=True)
    (store / "acme" / "nobodys").mkdir(parents=True, exist_ok=True)
    server = restart(process)
    with server.client() as sdk:
        wait_for_job(sdk, "late", "COMPLETED")
        assert sdk.models.get("late").state == "READY"
    assert sorted(entry.name for entry in store.iterdir()) == ["acme", "fireworks"]
    assert "nobodys" not in [entry.name for entry in (store / "acme").iterdir()]
    assert (store / "acme" / "late" / "adapter_config.json").is_file()


def test_half_received_uploads_are_gone_and_can_be_sent_again(process: PlatformProcess, server: PlatformServer) -> None:
    server = restart(process)
    content = b'{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n' * 3
    with server.http() as http:
        for name in ("form", "signed"):
            body = {"datasetId": name, "dataset": {"userUploaded": {}}}
            http.post("/v1/accounts/acme/datasets", json=body).raise_for_status()
        sizes = {"filenameToSize": {"a.jsonl": str(len(content))}}
        reply = http.post("/v1/accounts/acme/datasets/signed:getUploadEndpoint", json=sizes).raise_for_status().json()
    url = reply["filenameToSignedUrls"]["a.jsonl"]
    path = url.removeprefix(server.base_url)
    form = b'--x\r\ncontent-disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n' + content[:100]
    uploads = server.home / "platform" / "uploads"
    halves = [
        send_half(server, "POST", "/v1/accounts/acme/datasets/form:upload", form, "multipart/form-data; boundary=x"),
        send_half(server, "PUT", path, content[:100], "application/octet-stream"),
    ]
    wait_until(lambda: len(list(uploads.rglob("*.part"))) == 2, 20)
    server_port = server.base_url
    server = restart(process)
    for half in halves:
        half.close()
    assert list(uploads.rglob("*.part")) == []
    with server.client() as sdk, server.http() as http:
        assert {sdk.datasets.get(name).state for name in ("form", "signed")} == {"UPLOADING"}
        sdk.datasets.upload("form", file=content)
        http.put(url.replace(server_port, server.base_url), content=content).raise_for_status()
        http.post("/v1/accounts/acme/datasets/signed:validateUpload", json={}).raise_for_status()
        assert {sdk.datasets.get(name).state for name in ("form", "signed")} == {"READY"}


def send_half(server: PlatformServer, verb: str, path: str, content: bytes, kind: str) -> socket.socket:
    """An upload that says it is longer than what comes."""
    host, port = server.base_url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)))
    head = f"{verb} {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {server.key}\r\ncontent-type: {kind}\r\n"
    connection.sendall(f"{head}content-length: {len(content) + 150}\r\n\r\n".encode() + content)
    return connection


def test_an_uploaded_model_killed_while_it_is_published_can_be_published(
    process: PlatformProcess, server: PlatformServer
) -> None:
    """The moment between moving its files and saying so is made by hand: it lasts microseconds."""
    server = restart(process)
    platform = server.home / "platform"
    source = platform / "models" / "acme" / "late"
    files = {file.name: file.read_bytes() for file in source.iterdir() if file.suffix in (".json", ".safetensors")}
    with server.http() as http:
        details = {"baseModel": "accounts/fireworks/models/tiny-base", "r": 8, "targetModules": []}
        body = {"modelId": "up", "model": {"kind": "HF_PEFT_ADDON", "peftDetails": details}}
        http.post("/v1/accounts/acme/models", json=body).raise_for_status()
        sizes = {"filenameToSize": {name: str(len(content)) for name, content in files.items()}}
        reply = http.post("/v1/accounts/acme/models/up:getUploadEndpoint", json=sizes).raise_for_status().json()
        for name, url in reply["filenameToSignedUrls"].items():
            http.put(url, content=files[name]).raise_for_status()
    (upload,) = [entry for entry in (platform / "uploads").iterdir() if (entry / "adapter_config.json").exists()]
    process.kill()
    upload.rename(platform / "models" / "acme" / "up")
    server = process.start()
    with server.http() as http:
        assert http.get("/v1/accounts/acme/models/up").json()["state"] == "UPLOADING"
        http.get("/v1/accounts/acme/models/up:validateUpload").raise_for_status()
        assert http.get("/v1/accounts/acme/models/up").json()["state"] == "READY"


def test_a_deployment_answers_after_a_kill_without_another_call(
    process: PlatformProcess, server: PlatformServer
) -> None:
    server = restart(process)
    with server.http() as http:
        body = {"baseModel": "accounts/fireworks/models/tiny-base", "minReplicaCount": 1, "maxReplicaCount": 1}
        http.post("/v1/accounts/acme/deployments?deploymentId=steady", json=body).raise_for_status()
    question = {
        "model": "accounts/fireworks/models/tiny-base#accounts/acme/deployments/steady", "max_tokens": 4,
        "temperature": 0, "messages": [{"role": "user", "content": "hello"}],
    }  # fmt: skip
    first = ask(server, question)
    server = restart(process)
    assert ask(server, question) == first


def ask(server: PlatformServer, question: dict[str, Any]) -> str:
    deadline = time.monotonic() + 90
    with server.http() as http:
        while True:
            reply = http.post("/inference/v1/chat/completions", json=question)
            if reply.status_code == 200:
                return str(reply.json()["choices"][0]["message"]["content"])
            assert reply.status_code == 503, reply.text
            assert time.monotonic() < deadline
            time.sleep(0.2)


def test_a_full_disk_is_said_and_leaves_nothing_half(tmp_path: Path) -> None:
    """A small disk of its own, in a mount namespace of its own: it ends with the process."""
    (tmp_path / "platform").mkdir()
    wrapper = ("bwrap", "--dev-bind", "/", "/", "--die-with-parent", "--size", str(24 << 20))
    process = PlatformProcess(tmp_path, *wrapper, "--tmpfs", str(tmp_path / "platform"))
    server = process.start()
    line = b'{"messages": [{"role": "user", "content": "%s"}, {"role": "assistant", "content": "b"}]}\n' % (b"a" * 8000)
    try:
        with server.http() as http:
            answers = [upload(http, number, line * 500) for number in range(8)]
            codes = [answer.status_code for answer in answers]
            assert codes[0] == 200
            assert set(codes) == {200, 429}
            refused = answers[codes.index(429)]
            assert "The disk of the platform is full." in refused.json()["message"]
            states = {
                item["name"][-1]: item["state"] for item in http.get("/v1/accounts/acme/datasets").json()["datasets"]
            }
            assert [states.get(str(n)) == "READY" for n in range(8)] == [code == 200 for code in codes]
            http.delete("/v1/accounts/acme/datasets/fill0").raise_for_status()
            assert upload(http, 9, line * 300).status_code == 200
    finally:
        process.stop()


def upload(http: Any, number: int, content: bytes) -> Any:
    body = {"datasetId": f"fill{number}", "dataset": {"userUploaded": {}}}
    made = http.post("/v1/accounts/acme/datasets", json=body)
    if made.status_code != 200:
        return made
    # each another content: equal ones are stored once
    files = {"file": ("a.jsonl", content.replace(b"aa", b"%02d" % number), "application/jsonl")}
    return http.post(f"/v1/accounts/acme/datasets/fill{number}:upload", files=files)
