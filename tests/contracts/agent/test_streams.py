"""The event stream: exactly once and in order, over any number of reconnects."""

import threading
from typing import Any

import pytest

from tests.fixtures.control import ControlServer

EVENTS = 150


def test_watchers_that_reconnect_see_every_event_once(control: ControlServer) -> None:
    session = control.create(f"flood {EVENTS}; finish")
    seen: list[list[dict[str, Any]]] = [[] for _ in range(6)]

    def watch(number: int) -> None:
        """Reads a few events, hangs up, and resumes behind the last one: each watcher with another rhythm."""
        events, last = seen[number], 0
        while True:
            taken = 0
            for event in control.stream(session, last=last):
                if event["event"] == "done":
                    events.append(event)
                    return
                events.append(event)
                last, taken = int(event["id"]), taken + 1
                if taken == number * 7 + 5:
                    break

    threads = [threading.Thread(target=watch, args=(number,)) for number in range(len(seen))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    log = [event["seq"] for event in control.events(session)]
    assert len(log) == EVENTS + 3
    for events in seen:
        assert [event["id"] for event in events[:-1]] == log
        assert events[-1]["data"] == {"status": "succeeded"}


def test_a_stream_ends_at_a_question_and_can_be_narrowed(control: ControlServer) -> None:
    session = control.create("say one; ask q; say two; finish")
    events = list(control.stream(session))
    assert [event["event"] for event in events[-3:]] == ["question", "status", "done"]
    assert events[-1]["data"] == {"status": "waiting"}
    last = events[-2]
    assert list(control.stream(session, afterSeq=last["id"])) == [events[-1]]
    control.update(session, instruction="A")
    later = list(control.stream(session, startTime=last["data"]["createTime"]))
    assert later[0] == last
    assert later[-1]["data"] == {"status": "succeeded"}
    assert [event["data"]["payload"]["text"] for event in later if event["event"] == "status_info"] == ["two"]
    pages, token = list[Any](), ""
    while True:
        page = control.get(f"/{session}/events", pageSize=3, pageToken=token)
        pages += page["events"]
        token = page["nextPageToken"]
        if not token:
            break
    assert pages == control.events(session)


@pytest.mark.parametrize(
    ("params", "status"),
    [
        ({"afterSeq": 10_000}, "OUT_OF_RANGE"),
        ({"afterSeq": -1}, "INVALID_ARGUMENT"),
        ({"afterSeq": "x"}, "INVALID_ARGUMENT"),
        ({"startTime": "yesterday"}, "INVALID_ARGUMENT"),
    ],
)
def test_positions_that_make_no_sense_are_refused(control: ControlServer, params: dict[str, Any], status: str) -> None:
    session = control.create("finish")
    assert control.get(f"/{session}/events:stream", 400, **params)["error"]["status"] == status
    control.get("/1-0000/events:stream", 404)
    control.get(f"/{session}/events", 400, pageToken="bm9uc2Vuc2U")


def test_artifacts_are_served_as_data(control: ControlServer) -> None:
    session = control.create("write outputs/page.html <script>; write final_report.md done; finish")
    control.settle(session, "succeeded")
    paths = [artifact["path"] for artifact in control.get(f"/{session}/artifacts")["artifacts"]]
    assert paths == ["final_report.md", "outputs/page.html"]
    response = control.http.get(f"{control.collection}/{session}/artifacts/outputs/page.html")
    assert response.text == "<script>"
    assert response.headers["content-disposition"] == "attachment"
    assert response.headers["x-content-type-options"] == "nosniff"
    for path in (
        "place",
        "outputs/none",
        "%2e%2e/%2e%2e/%2e%2e/admin.key",
        "outputs%2F..%2F..%2Fplace",
        "//etc/passwd",
    ):
        code = control.http.get(f"{control.collection}/{session}/artifacts/{path}").status_code
        assert code in (400, 404)
