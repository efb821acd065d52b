"""Many watchers, slow watchers, writers in other processes, and text that is shown but not kept."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from pilotlight.database import open_engine
from tests.fixtures.control import ControlServer


async def watch(url: str, key: str, session: str, connected: asyncio.Semaphore) -> list[str]:
    """IDs of all events, then the status; over a bare connection, so that a thousand are cheap."""
    address = httpx.URL(url)
    reader, writer = await asyncio.open_connection(address.host, address.port, limit=1 << 20)
    path = f"/v1/accounts/acct/sessions/{session}/events:stream"
    writer.write(f"GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n\r\n".encode())
    seen: list[str] = []
    while line := (await reader.readline()).decode():
        if line.startswith("id: "):
            seen.append(line[4:].strip())
            if len(seen) == 1:
                connected.release()
        elif line.startswith("data: ") and "seq" not in (data := json.loads(line[6:])):
            seen.append(data["status"])
            break
    writer.close()
    return seen


def key_of(control: ControlServer) -> str:
    return (control.settings.home / "admin.key").read_text()


async def watch_together(control: ControlServer, session: str, count: int) -> list[list[str]]:
    connected = asyncio.Semaphore(0)
    url = str(control.http.base_url)
    tasks = [asyncio.create_task(watch(url, key_of(control), session, connected)) for _ in range(count)]
    for _ in tasks:
        await connected.acquire()
    (control.workspace(session) / "go").touch()
    return await asyncio.gather(*tasks)


@pytest.mark.parametrize("count", [100, pytest.param(1000, marks=pytest.mark.slow)])
def test_many_watchers_of_one_session_see_everything_once(control: ControlServer, count: int) -> None:
    session = control.create("wait go; flood 40; finish")
    seen = asyncio.run(watch_together(control, session, count))
    log = [event["seq"] for event in control.events(session)]
    assert len(log) == 43
    assert [ids for ids in seen if ids != [*log, "succeeded"]] == []


def test_what_another_process_writes_is_streamed(control: ControlServer) -> None:
    session = control.create("wait go; finish")
    control.settle_until(session, lambda view: view["status"] == "running")
    stream = control.stream(session)
    assert [next(stream)["id"], next(stream)["id"]] == ["1", "2"]
    time.sleep(0.5)  # all has been read: only the look at the database can find what comes now
    write_behind_its_back(control, session)
    begun = time.monotonic()
    later = threading.Timer(10, (control.workspace(session) / "go").touch)  # an end, should nothing come of it
    later.start()
    assert next(stream)["data"]["payload"] == {"text": "from elsewhere"}
    assert time.monotonic() - begun < 8
    later.cancel()
    (control.workspace(session) / "go").touch()
    assert list(stream)[-1]["data"] == {"status": "succeeded"}


def write_behind_its_back(control: ControlServer, session: str) -> None:
    """As another process does it: nothing of ours in this process hears of it."""
    engine = open_engine(control.settings.control_database_url)
    values = {"session": session, "payload": json.dumps({"text": "from elsewhere"})}
    with engine.begin() as db:
        db.execute(text("UPDATE sessions SET last_seq = last_seq + 1 WHERE id = :session"), values)
        db.execute(
            text(
                "INSERT INTO events (session_id, seq, type, time, turn, epoch, payload)"
                " SELECT id, last_seq, 'status_info', update_time, turn, epoch, :payload"
                " FROM sessions WHERE id = :session"
            ),
            values,
        )
    engine.dispose()


def test_a_reader_that_stops_for_a_while_gets_all_the_rest_from_the_log(control: ControlServer) -> None:
    session = control.create("wait go; shout 800 4000; finish")
    control.settle_until(session, lambda view: view["status"] == "running")
    url = control.http.base_url
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        slow.connect((url.host, url.port or 80))
        path = f"/v1/accounts/acct/sessions/{session}/events:stream"
        slow.sendall(f"GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key_of(control)}\r\n\r\n".encode())
        time.sleep(0.3)
        (control.workspace(session) / "go").touch()
        control.settle(session, "succeeded")  # the others are not held up
        slow.settimeout(20)
        ids = list(read_ids(slow))
    assert ids == [event["seq"] for event in all_events(control, session)]


def read_ids(connection: socket.socket) -> Iterator[str]:
    with connection.makefile() as lines:
        for line in lines:
            if line.startswith("id: "):
                yield line[4:].strip()
            if line.startswith("event: done"):
                return


def all_events(control: ControlServer, session: str) -> Iterator[dict[str, Any]]:
    token = ""
    while True:
        page = control.get(f"/{session}/events", pageSize=500, pageToken=token)
        yield from page["events"]
        token = page["nextPageToken"]
        if not token:
            return


def test_deltas_are_shown_and_not_kept(control: ControlServer) -> None:
    session = control.create("say begun; wait go; show hello; show world; wait stop; finish")
    control.settle_until(session, lambda view: view["statusInfo"] == "begun")
    stream = control.stream(session)
    assert [next(stream)["event"] for _ in range(3)] == ["status", "status", "status_info"]
    (control.workspace(session) / "go").touch()
    shown = [next(stream), next(stream)]
    assert [event["data"] for event in shown] == [
        {"channel": "answer", "text": "hello"},
        {"channel": "answer", "text": "world"},
    ]
    assert all(event["event"] == "delta" and "id" not in event for event in shown)
    (control.workspace(session) / "stop").touch()
    assert next(stream)["id"] == "4"
    assert [event["event"] for event in control.stream(session)] == [
        "status",
        "status",
        "status_info",
        "status",
        "done",
    ]
