"""Secrets stay where they live, over a whole real session and with a hostile runner in the sandbox.

Everything that is written is scanned: workspaces, snapshots, events, logs, artifacts, plans, audit rows, error bodies.
"""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from cli.up import free_port
from tests.acceptance.secrets.conftest import Planted
from tests.fixtures.canaries import Hit, Scanner

INSTRUCTION = (
    "Run SFT on ember-500k using accounts/local/datasets/tickets. Use validation loss for evaluation. "
    "Skip HP tuning, train for 1 epoch."
)
KEPT = ("admin.key", "signing.key")
"""Files that are there to hold a secret."""
KNOWN = "known-value-0123456789abcdef"
"""Lies in the hostile runner's own workspace: that it is found everywhere proves that a leak would be."""


class Client:
    """The sessions of one control process over HTTP, as the admin."""

    def __init__(self, url: str, key: str, captured: Path) -> None:
        self.http = httpx.Client(base_url=url, headers={"authorization": f"Bearer {key}"}, timeout=60)
        self._captured = captured

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        reply = self.http.post(f"/v1/accounts/local/sessions{path}", json=body)
        assert reply.status_code == 200, reply.text
        return reply.json()

    def rest(self, session: str) -> dict[str, Any]:
        """Wait until the session is no longer at work."""
        deadline = time.monotonic() + 300
        while (view := self.get(f"/{session}").json())["status"] in ("pending", "running"):
            assert time.monotonic() < deadline
            time.sleep(0.2)
        return view

    def get(self, path: str) -> httpx.Response:
        return self.http.get(f"/v1/accounts/local/sessions{path}").raise_for_status()

    def capture(self, session: str) -> None:
        """Keep what a user of the session sees: itself, its events, its artifacts."""
        folder = self._captured / session
        folder.mkdir()
        (folder / "session.json").write_text((found := self.get(f"/{session}")).text)
        (folder / "events.json").write_text(self.get(f"/{session}/events?pageSize=500").text)
        for artifact in found.json()["artifacts"]:
            content = self.get(f"/{session}/artifacts/{artifact['path']}").content
            (folder / f"artifact-{artifact['path'].replace('/', '-')}").write_bytes(content)


@pytest.fixture(scope="module")
def dataset(planted: Planted) -> str:
    """A small dataset on the platform."""
    rows = [{"messages": [{"role": "user", "content": f"ticket {n}: the screen is {color}"},
                          {"role": "assistant", "content": f"{color} screens are for team {n % 3}"}]}
            for n in range(60) for color in ("blue", "red")]  # fmt: skip
    (planted.root / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return planted.system.firectl("dataset", "create", "tickets", "t.jsonl")


@pytest.fixture(scope="module")
def session(planted: Planted, dataset: str) -> Iterator[str]:
    """A session from its instruction to its deployed model."""
    system = planted.system
    client = Client(system.instance.url, planted.anywhere["admin key"], planted.root / "captured")
    with client.http:
        session = client.post("", {"instruction": INSTRUCTION})["sessionId"]
        while (view := client.rest(session))["status"] == "waiting":
            client.post(f"/{session}:update", {"instruction": "Approved, proceed."})
        assert view["status"] == "succeeded", view
        client.capture(session)
        yield session


@pytest.fixture(scope="module")
def hostile(planted: Planted, dataset: str) -> Iterator[Path]:
    """The home of a second control process on the same platform, after a turn of a hostile runner."""
    home, port = planted.root / "hostile", free_port()
    home.mkdir()
    environment = planted.system.instance.environment | {
        "PILOTLIGHT_HOME": str(home), "PILOTLIGHT_PORT": str(port), "KNOWN_VALUE": KNOWN,
        "PYTHONPATH": str(Path(__file__).parents[3]),
    }  # fmt: skip
    command = [sys.executable, "-P", "-m", "tests.acceptance.secrets.hostile_control"]
    with (
        (home / "agent.log").open("ab") as log,
        subprocess.Popen(command, env=environment, stdout=log, stderr=log) as server,
    ):
        try:
            client = Client(f"http://127.0.0.1:{port}", _key_of(server, home, port), planted.root / "captured")
            with client.http:
                name = client.post("", {"instruction": "take all"})["sessionId"]
                assert client.rest(name)["status"] == "failed"
                client.capture(name)
                yield home / "sessions" / name
        finally:
            server.terminate()
            server.wait(30)


def _key_of(server: "subprocess.Popen[bytes]", home: Path, port: int) -> str:
    """The admin's key, once the server listens."""
    deadline = time.monotonic() + 90
    while not _listens(port):
        assert server.poll() is None, (home / "agent.log").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return (home / "admin.key").read_text()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def find_leaks(planted: Planted) -> list[Hit]:
    keys = Scanner(planted.anywhere).scan_tree(planted.root, skip=KEPT)
    databases = tuple(path.name for path in planted.root.rglob("*.db*") if "sessions" not in path.parts)
    return keys + Scanner(planted.in_databases).scan_tree(planted.root, skip=(*KEPT, *databases))


def test_scan_of_the_instance_would_find_a_planted_value(planted: Planted, session: str) -> None:
    """Positive control: what a session writes by right is found in each kind of place that is scanned."""
    places = [hit.place.removeprefix(str(planted.root)) for hit in Scanner({"x": INSTRUCTION}).scan_tree(planted.root)]
    work, seen = f"/home/sessions/{session}/work", f"/captured/{session}"
    for wanted in (f"{work}/plan.json", f"{seen}/session.json", f"{seen}/events.json", f"{seen}/artifact-plan.json"):
        assert wanted in places
    assert any(place.startswith(f"/home/workspaces/{session}/") for place in places)
    assert any(place.startswith("rows of ") and place.endswith("control.db") for place in places)
    state = Scanner({"x": "accounts/local/datasets/tickets"}).scan_tree(planted.root / work.removeprefix("/"))
    assert any(hit.place.startswith("rows of ") and hit.place.endswith("graph.db") for hit in state)
    platform_log = planted.root / "home" / "platform.log"
    assert platform_log.stat().st_size > 0
    for name, value in planted.in_databases.items():
        assert Scanner({name: value}).scan_tree(planted.root / "home", skip=KEPT), f"{name} was not planted"
    for name in ("upstream key", "signing key"):
        assert Scanner({name: planted.anywhere[name]}).scan_tree(planted.root / "home" / "platform")


def test_no_secret_is_in_anything_that_a_whole_session_wrote(planted: Planted, session: str) -> None:
    assert find_leaks(planted) == []


def test_no_secret_is_in_an_error_body(planted: Planted, session: str) -> None:
    found = "\n".join(_provoke_errors(planted, session))
    assert found.count('"error"') + found.count('"message"') > 20
    assert list(Scanner(planted.anywhere | planted.in_databases).scan("errors", found.encode())) == []


def _provoke_errors(planted: Planted, session: str) -> Iterator[str]:
    """Replies to wrong requests at both servers, with the right key, a secret in its place, and none."""
    base = "/v1/accounts/local"
    requests = [
        ("GET", f"{base}/sessions/none"), ("GET", "/v1/accounts/other/sessions"), ("POST", f"{base}/sessions"),
        ("GET", f"{base}/sessions/{session}/artifacts/..%2f..%2fadmin.key"), ("PUT", f"{base}/sessions"),
        ("GET", f"{base}/sessions/{session}/artifacts/outputs/none"), ("GET", f"{base}/datasets/none"),
        ("GET", f"{base}/datasets/%2e%2e"), ("DELETE", f"{base}/datasets/none"), ("GET", f"{base}/secrets"),
        ("POST", f"{base}/supervisedFineTuningJobs"), ("GET", f"{base}/users/none"), ("GET", f"{base}/apiKeys"),
        ("POST", "/inference/v1/chat/completions"), ("GET", "/.env"), ("GET", f"{base}/sessions?pageToken=zzz"),
    ]  # fmt: skip
    instance = planted.system.instance
    for url in (instance.url, f"http://127.0.0.1:{instance.platform_port}"):
        for key in (planted.anywhere["admin key"], planted.anywhere["upstream key"], "fw_wrong", ""):
            headers = {"authorization": f"Bearer {key}"} if key else {}
            with httpx.Client(base_url=url, headers=headers, timeout=60) as client:
                for verb, path in requests:
                    reply = client.request(verb, path, content=b'{"a": NaN' if verb == "POST" else None)
                    yield f"{reply.status_code} {reply.headers} {reply.text}"


def test_hostile_runner_finds_and_tells_no_secret(planted: Planted, hostile: Path) -> None:
    assert find_leaks(planted) == []


def test_what_the_hostile_runner_knew_is_found_wherever_it_put_it(planted: Planted, hostile: Path) -> None:
    """Positive control of the test above: the runner did take and tell all it could."""
    hits = Scanner({"known": KNOWN}).scan_tree(planted.root)
    places = {(hit.place.removeprefix(str(planted.root)), hit.form.partition("+")[0]) for hit in hits}
    session = f"/hostile/sessions/{hostile.name}"
    assert (f"{session}/work/known.txt", "plain") in places
    assert {(f"{session}/runner.log", "plain"), (f"{session}/runner.log", "hex")} <= places
    seen = f"/captured/{hostile.name}"
    assert {(f"{seen}/events.json", "plain"), (f"{seen}/events.json", "base64")} <= places
    assert any(place.startswith(f"/hostile/workspaces/{hostile.name}/") for place, _ in places)
    assert any(place.startswith(f"{seen}/artifact-outputs") for place, _ in places)
    taken: dict[str, int] = json.loads((hostile / "work" / "outputs" / "taken.json").read_text())
    assert not [name for name in taken if name.startswith("error of")]
    assert sum(name.startswith("reply") and size > 20 for name, size in taken.items()) > 100
    assert sum("/mem " in name and size > 1000 for name, size in taken.items()) > 5
    assert {"/proc/1/environ", "/proc/1/mountinfo", "environ", "/proc/1/cmdline"} <= set(taken)


def test_hostile_runner_reached_the_platform(planted: Planted, hostile: Path) -> None:
    """Its requests were answered by the real platform, so its headers and errors were really seen."""
    replies = [path.read_bytes() for path in (hostile / "work" / "outputs").glob("*.bin")]
    replies = [text for text in replies if text.startswith(b"reply ")]
    assert any(b" 200 " in text and b"contentHash" in text for text in replies)
    assert any(b" 404 " in text and b"datasets/none" in text for text in replies)
    assert any(b"PERMISSION_DENIED" in text for text in replies)
    assert not [text[:300] for text in replies if b"authorization" in text.lower().partition(b"\n")[2]]
